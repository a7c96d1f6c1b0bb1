/* json/state.h: what encoding and decoding keep from call to call, once a Lua state. */
#ifndef LRUN_JSON_STATE_H
#define LRUN_JSON_STATE_H

#include "json/keys.h"

#include <lua.h>
#include <stddef.h>

typedef struct {
  char *text; /* where the next text is written; NULL while one is in use */
  size_t capacity;
  json_keys_t *keys; /* that were read; NULL before the first text */
} json_state_t;

/* The state's own, which is made when there is none. Throws when memory is short. */
json_state_t *json_state(lua_State *L);

/* The same for decoding: pushes the table of the keys' strings (json/keys.h). */
json_state_t *json_state_with_keys(lua_State *L);

#endif
