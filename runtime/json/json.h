/* json/json.h: JSON text and Lua values, both ways, for two users. The module `json` is strict: it refuses what
 * JSON cannot say exactly. The IPC channel's JSON wire is lenient: as with JSON.stringify and JSON.parse, as
 * much as possible gets through. */
#ifndef LRUN_JSON_JSON_H
#define LRUN_JSON_JSON_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#define JSON_MAX_DEPTH 1000 /* arrays and objects inside one another */

typedef enum {
  JSON_STRICT,
  JSON_LENIENT /* bytes of strings are not looked at, half a surrogate pair is one; NaN, infinities: null */
} json_mode_t;

typedef struct {
  size_t offset;      /* where it is wrong, from 0 */
  const char *reason; /* a static text */
} json_fault_t;

/* Pushes the value of a text that is one JSON value as RFC 8259 has it, and returns 0; or pushes nothing,
 * fills in the fault and returns -1. `null` is nil, in an array a light userdata NULL. The stack has room for
 * a few values. Throws only when memory is short. */
int json_decode(lua_State *L, const char *text, size_t length, json_mode_t mode, json_fault_t *fault);

/* A text that was written: it belongs to whoever had it written, until json_release. */
typedef struct {
  char *bytes;
  size_t length, capacity;
} json_text_t;

/* Writes the value on the top of the stack, which stays there. Returns NULL; or why there is no text, and leaves the way
 * to what could not be encoded above the value: key, value, key, value, …, with what comes after the last key, if
 * anything. Runs no Lua code but finalizers. */
const char *json_encode(lua_State *L, json_mode_t mode, json_text_t *text);

/* Gives it back, also when there is none: if it is not large, the next one is written in its place. */
void json_release(lua_State *L, json_text_t *text);

/* How many bytes from `bytes` on stand for themselves in a string of JSON: no quote, backslash or control
 * character; with `ascii`, none above 127. */
size_t json_plain_run(const unsigned char *bytes, const unsigned char *end, bool ascii);

/* The length (2 to 4) of the UTF-8 sequence at `bytes`, whose first byte is above 127; 0 when it is none. */
size_t json_utf8_sequence(const unsigned char *bytes, size_t left);

#endif
