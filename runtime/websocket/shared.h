/* websocket/shared.h: what all WebSocket connections of a VM share: the ways into Lua, scratch memory, coders, random
 * masks, and the list of those that have output to write before the loop waits. */
#ifndef LRUN_WEBSOCKET_SHARED_H
#define LRUN_WEBSOCKET_SHARED_H

#include "host/callback.h"
#include "websocket/deflate.h"
#include "websocket/parser.h"

#include <lua.h>
#include <uv.h>

/* The Lua functions that connections call (lualib/lrun/websocket/socket.lua); `socket` is Lua's side of one. */
typedef enum {
  WS_ON_MESSAGE, /* (socket, data, is binary) */
  WS_ON_CONTROL, /* (socket, "ping" or "pong", data) */
  WS_ON_SENT,    /* (socket, how many bytes were written since the beginning, whether a sender may go on) */
  WS_ON_FAULT,   /* (socket, close code, "WS_ERR_…", reason): the peer broke the rules */
  WS_ON_FAILED, /* (socket, table of stream_push_failure): what lies below failed; the socket closes behind it */
  WS_ON_CLOSED, /* (socket, close code, reason): the handle is closed */
  WS_CALLBACKS
} ws_callback_t;

typedef struct ws_conn ws_conn_t;

typedef struct {
  lua_State *L; /* the main state */
  uv_loop_t *loop;
  callbacks_t *door;
  int callbacks[WS_CALLBACKS]; /* registry refs */
  ws_workshop_t workshop;
  ws_deflaters_t deflaters;
  buffer_t compressed; /* what was just made */
  ws_conn_t **dirty;   /* those with output that was not tried yet; NULL for one that is no more */
  size_t dirty_count, dirty_cap;
  uv_idle_t flush; /* writes it before the loop waits; made with the struct, closed at the VM's end */
  uint8_t masks[1024];
  unsigned masks_left; /* bytes at the end of `masks` that were not used */
} ws_shared_t;

/* The VM's, made on first use. */
ws_shared_t *ws_shared(lua_State *L);

/* The connection's output is written before the loop waits. False when memory is out. */
bool ws_shared_flush_soon(ws_shared_t *shared, ws_conn_t *conn);
/* It needs not be any more. */
void ws_shared_forget(ws_shared_t *shared, const ws_conn_t *conn);

/* Four bytes that nobody can foresee. */
const uint8_t *ws_shared_mask(ws_shared_t *shared);

#endif
