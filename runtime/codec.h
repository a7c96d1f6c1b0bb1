/* codec.h: message bodies. The Lua wire carries LuaJIT's string.buffer serialization, the JSON wire JSON text. */
#ifndef LRUN_CODEC_H
#define LRUN_CODEC_H

#include "frame.h"
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* How one channel speaks; set `wire` before codec_open. */
typedef struct {
  frame_wire_t wire;
  int encode, decode; /* registry refs, shared by all */
} codec_t;

void codec_open(lua_State *L, codec_t *codec);

/* Pushes the encoding, a string, of the value at `index`. Throws an error object when it cannot be carried. */
const char *codec_encode(lua_State *L, const codec_t *codec, int index, size_t *length);

/* Pushes the value that a body holds. When it holds none, pushes nothing and returns false: a peer may send
 * anything. May be called outside of protected code. */
bool codec_decode(lua_State *L, const codec_t *codec, const char *body, size_t length);

/* Whether the bytes are one complete serialized value without a metatable, a dictionary entry or a pointer, whose
 * tables are no larger than the bytes can fill. What passes makes string.buffer allocate in proportion to `length`. */
bool codec_check(const char *bytes, size_t length);

#endif
