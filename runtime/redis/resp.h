/* redis/resp.h: what a Redis server sends, as Lua values. RESP2 and RESP3 (redis.io, "Redis serialization protocol").
 *
 * Bytes go in as they come; replies that are whole come out. What is under way is kept: lists that are not full in the
 * environment of the parser's userdata, a string that has not come whole in a buffer. So each byte is looked at once. */
#ifndef LRUN_REDIS_RESP_H
#define LRUN_REDIS_RESP_H

#include "io/buffer.h"

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

enum {
  RESP_DEPTH = 64,           /* lists in lists */
  RESP_LINE_MAX = 64 * 1024, /* bytes of a line */
};

/* A list, map, … that is not full. */
typedef struct {
  char kind; /* '*' list or set, '%' map, '>' push, '|' attributes, which are dropped */
  int64_t left, at;
  bool has_key; /* map: its key is kept beside it */
} resp_level_t;

typedef struct {
  buffer_t held;  /* begins with the reply's next byte */
  int64_t bulk;   /* bytes of the string that is under way, with its CRLF; -1 for none */
  char bulk_kind; /* '$', '=' or '!' */
  uint64_t reply; /* bytes of the reply that is under way */
  uint64_t most;  /* that a reply may have */
  int depth;
  resp_level_t levels[RESP_DEPTH];
  const char *fault; /* what was wrong; then nothing more is taken */
  buffer_t output;   /* commands that wait to be written */
} resp_t;

/* Appends the replies that are whole to the list at `list` from `n` + 1 on; returns how many there are then, or -1 for
 * a fault. `self` is the stack index of the userdata; `error` and `push` those of the function that makes error
 * objects and of the metatable of pushes. */
int resp_feed(lua_State *L, resp_t *r, int self, int error, int push, int list, int n, const char *data,
              size_t len);
void resp_free(resp_t *r);

#endif
