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
 * fills in the fault and returns -1. `null` is nil, in an array a light userdata NULL. Throws only when
 * memory is short. */
int json_decode(lua_State *L, const char *text, size_t length, json_mode_t mode, json_fault_t *fault);

/* The text of the value on the top of the stack, which stays there; the bytes are good until the next call or
 * json_release. Returns NULL; or why there is none, and leaves the way to what could not be encoded above the
 * value: key, value, key, value, …, with what comes after the last key, if anything. Runs no Lua code. */
const char *json_encode(lua_State *L, json_mode_t mode, const char **text, size_t *length);

/* Ends the use of json_encode's text of that length: much memory is given back, little is kept. */
void json_release(lua_State *L, size_t length);

/* How many bytes from `bytes` on stand for themselves in a string of JSON: no quote, backslash or control
 * character; with `ascii`, none above 127. */
size_t json_plain_run(const unsigned char *bytes, const unsigned char *end, bool ascii);

/* The length (2 to 4) of the UTF-8 sequence at `bytes`, whose first byte is above 127; 0 when it is none. */
size_t json_utf8_sequence(const unsigned char *bytes, size_t left);

#endif
