/* websocket/deflate.h: permessage-deflate (RFC 7692): one direction of one connection, by zlib, on the loop.
 *
 * A message is a raw deflate stream, flushed, without the four bytes that the flush ends with. Where each message stands
 * for itself (no context takeover) the coder is borrowed: one compressor for each window and level of the VM, one inflater
 * for each message under way. Where the window goes on the connection owns its coder, made at its first message. */
#ifndef LRUN_WEBSOCKET_DEFLATE_H
#define LRUN_WEBSOCKET_DEFLATE_H

#include "io/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/* What was agreed on for one direction; all zero: nothing, it is not compressed. */
typedef struct {
  uint8_t window; /* bits, 8 to 15 */
  bool takeover;  /* the window goes on from message to message */
} ws_agreed_t;

/* Inflating ------------------------------------------------------------------------------------------- */

typedef struct ws_inflater ws_inflater_t;

/* Those of a VM that are at rest. All zero is none. */
typedef struct {
  SLIST_HEAD(, ws_inflater) list;
  unsigned count;
} ws_inflaters_t;

/* For a message's first bytes; NULL when memory is out. */
ws_inflater_t *ws_inflater_take(ws_inflaters_t *all, uint8_t window);
/* It starts anew with whoever takes it next. */
void ws_inflater_give(ws_inflaters_t *all, ws_inflater_t *inflater);
void ws_inflater_free(ws_inflater_t *inflater);
void ws_inflaters_free(ws_inflaters_t *all);

/* Appends what the bytes say; `last`: the message ends with them. 0; UV_E2BIG when `out` would be longer than `limit`,
 * UV_EPROTO for what is no deflate stream, UV_ENOMEM. */
int ws_inflate(ws_inflater_t *inflater, const char *data, size_t len, bool last, buffer_t *out,
               uint64_t limit);

/* Compressing ------------------------------------------------------------------------------------------ */

typedef struct ws_deflater ws_deflater_t;

/* How to compress; memory and speed against size. */
typedef struct {
  int level;     /* 0 to 9, -1 for zlib's choice */
  int mem_level; /* 1 to 9 */
} ws_effort_t;

/* NULL when memory is out. */
ws_deflater_t *ws_deflater_new(uint8_t window, ws_effort_t effort);
void ws_deflater_free(ws_deflater_t *deflater);

/* Appends one message, or a part of one, compressed. `anew`: nothing of what came before is referred to; `last`: the
 * message ends, without its last four bytes. 0 or UV_ENOMEM. */
int ws_deflate(ws_deflater_t *deflater, const char *data, size_t len, bool anew, bool last, buffer_t *out);

/* Those of a VM that many connections share. */
typedef struct ws_deflaters {
  SLIST_HEAD(, ws_deflater) list;
} ws_deflaters_t;
ws_deflater_t *ws_deflaters_find(ws_deflaters_t *all, uint8_t window, ws_effort_t effort);
void ws_deflaters_free(ws_deflaters_t *all);

#endif
