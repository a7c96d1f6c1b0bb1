/* http/format.h: the text of heads and chunks, appended to a buffer. No connection, no Lua. */
#ifndef LRUN_HTTP_FORMAT_H
#define LRUN_HTTP_FORMAT_H

#include "io/buffer.h"

#include <stdbool.h>
#include <stdint.h>

/* "Not Found" for 404; "unknown" for a status without a name. */
const char *http_status_text(int status);

/* All of these return 0 or UV_ENOMEM. */

/* "HTTP/1.1 200 OK" CRLF; message NULL for the usual one. */
int http_response_status(buffer_t *out, int status, const char *message, size_t len);
/* name ": " value CRLF */
int http_response_field(buffer_t *out, const char *name, size_t nlen, const char *value, size_t vlen);
/* "Content-Length: n" CRLF */
int http_response_length(buffer_t *out, uint64_t length);
/* n in decimal */
int http_response_number(buffer_t *out, uint64_t n);
/* One chunk around `len` bytes; nothing for none, which would end the body. */
int http_response_chunk(buffer_t *out, const char *data, size_t len);
/* The line before a chunk's bytes. */
int http_response_chunk_size(buffer_t *out, size_t len);
/* The last chunk; `trailers` are whole lines with their CRLF, or NULL. */
int http_response_last_chunk(buffer_t *out, const char *trailers, size_t len);
/* The complete answer to a request that was refused. */
int http_response_refusal(buffer_t *out, int status);

#endif
