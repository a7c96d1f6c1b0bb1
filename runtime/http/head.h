/* http/head.h: a message's head from what Lua gives: the rules of framing and of keeping alive. */
#ifndef LRUN_HTTP_HEAD_H
#define LRUN_HTTP_HEAD_H

#include "http/connection.h"

#include <lua.h>

enum {
  HTTP_HEAD_NO_DATE = 1,
  HTTP_HEAD_CLOSE = 2,         /* the connection ends with this response, whatever its fields say */
  HTTP_HEAD_NO_CONNECTION = 4, /* these fields are the program's affair */
  HTTP_HEAD_NO_LENGTH = 8,
  HTTP_HEAD_NO_CODING = 16
};

/* Lines of fields, ours: those of a file. */
typedef struct {
  const char *text;
  size_t len;
  int64_t length; /* the Content-Length among them, -1 where there is none */
} http_head_lines_t;

/* Appends the head of e's response to `out` and settles in e how the body goes.
 * `message` is the index of the status message or nil; `fields` that of { name, value, name, value, … } or
 * nil, where a value may be a list; length is the body's, -1 when it is not known yet. `lines`, or NULL, go behind the fields.
 * 0 or UV_ENOMEM. */
int http_head_response(lua_State *L, http_conn_t *conn, http_exchange_t *e, buffer_t *out, int status,
                       int message, int fields, int64_t length, int flags, const http_head_lines_t *lines);

/* The rest of such a head, for who has appended the status line and fields that say nothing of connection or framing but,
 * where it is not -1, Content-Length. */
int http_head_end(http_conn_t *conn, http_exchange_t *e, buffer_t *out, int status, int64_t length);

/* The head of most responses: 200 with a body of known length, no fields of the program's own, kept alive.
 * Whether the connection allows that, and the head, as http_head_response appends it. */
bool http_head_is_plain(const http_conn_t *conn, const http_exchange_t *e);
int http_head_plain(http_conn_t *conn, http_exchange_t *e, buffer_t *out, uint64_t length);

#endif
