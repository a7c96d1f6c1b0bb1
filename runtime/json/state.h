/* json/state.h: what encoding and decoding keep from call to call, once a Lua state. */
#ifndef LRUN_JSON_STATE_H
#define LRUN_JSON_STATE_H

#include "json/keys.h"

#include <lua.h>
#include <stddef.h>

enum {
  JSON_CANDIDATES = 32,
  JSON_SHAPES_AT =
      JSON_KEYS + 1 /* where the list of the shapes (json/shapes.h) is in the table of the keys' strings */
};

typedef struct json_shapes json_shapes_t;

/* A sequence of keys that may become a shape. */
typedef struct {
  uint32_t hash; /* of the keys' places */
  uint8_t seen;  /* how often it has come, at least */
  uint8_t shape; /* its number; 0: not yet */
} json_candidate_t;

typedef struct {
  char *text; /* where the next text is written; NULL while one is in use */
  size_t capacity;
  json_keys_t *keys;     /* that were read; NULL before the first text */
  json_shapes_t *shapes; /* in the list of the shapes; NULL before the first one */
  json_candidate_t candidates[JSON_CANDIDATES];
} json_state_t;

/* The state's own, which is made when there is none. Throws when memory is short. */
json_state_t *json_state(lua_State *L);

/* The same for decoding: pushes the table of the keys' strings (json/keys.h). */
json_state_t *json_state_with_keys(lua_State *L);

#endif
