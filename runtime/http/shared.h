/* http/shared.h: what all HTTP connections of a VM share: the Date line, the head of plain responses, the ways into
 * Lua. */
#ifndef LRUN_HTTP_SHARED_H
#define LRUN_HTTP_SHARED_H

#include "host/callback.h"
#include "io/buffer.h"
#include "io/stats.h"

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* The Lua functions that connections call (lualib/lrun/http/connection.lua). */
typedef enum {
  HTTP_ON_REQUEST,  /* (connection, id, head, flags) */
  HTTP_ON_RESPONSE, /* (connection, status, head, flags) */
  HTTP_ON_DATA,     /* (connection, bytes) */
  HTTP_ON_END, /* (connection, trailer section or nil, client: whether bytes follow that nobody has asked for) */
  HTTP_ON_DRAIN,   /* (connection, id or 0, the last response that is written) */
  HTTP_ON_FAULT,   /* (connection, status, code, reason, bytes, how many of them were good) */
  HTTP_ON_TIMEOUT, /* (connection) */
  HTTP_ON_CLOSED, /* (connection, negative code or 0, table of stream_push_failure or nil): its handle is closed. The
                     * table's field `closed` is true since the connection was, which may be earlier. */
  HTTP_CALLBACKS
} http_callback_t;

typedef struct {
  lua_State *L; /* the main state */
  uv_loop_t *loop;
  callbacks_t *door;
  int callbacks[HTTP_CALLBACKS]; /* registry refs */
  uint64_t date_until;           /* loop time in ms at which the Date line is stale */
  stats_t *stats;                /* counts the requests */
  char date[40];                 /* "Date: …" CRLF */
  buffer_t plain_head;           /* what most responses begin with, up to the value of Content-Length */
  uint64_t plain_until;          /* as date_until, for plain_head */
  uint64_t plain_keep_alive;     /* the keepAliveTimeout in plain_head */
} http_shared_t;

/* The VM's, made on first use. */
http_shared_t *http_shared(lua_State *L);

/* The whole Date line with its CRLF, HTTP_DATE_LENGTH bytes. */
enum { HTTP_DATE_LENGTH = 37 };
const char *http_shared_date(http_shared_t *shared);

#endif
