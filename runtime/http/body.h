/* http/body.h: message bodies: of known length, chunked, or up to the connection's end. */
#ifndef LRUN_HTTP_BODY_H
#define LRUN_HTTP_BODY_H

#include "http/message.h"

/* A chunk's size line is next. */
void http_body_begin_chunk(http_parser_t *p);
/* Reads one chunk size line; HTTP_EV_BODY when it is complete. */
http_event_kind_t http_body_size_line(http_parser_t *p, const char *data, size_t len, size_t *used);
/* HTTP_EV_BODY for a piece, HTTP_EV_END behind the last one and the trailers. */
http_event_kind_t http_body_next(http_parser_t *p, const char *data, size_t len, http_event_t *ev);

#endif
