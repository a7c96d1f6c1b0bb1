/* json/shapes.h: objects whose keys come again and again, the same ones in the same order. Such a shape has a Lua function
 * that makes a table of the values: a copy of a table that has all keys already, which none is looked for a place in. */
#ifndef LRUN_JSON_SHAPES_H
#define LRUN_JSON_SHAPES_H

#include "json/state.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  JSON_SHAPES = 32,
  JSON_SHAPE_MEMBERS = 16, /* the most that one has */
  JSON_SHAPE_TEXT = 256    /* bytes of all keys, with quotes and what stands around them */
};

typedef struct {
  uint8_t count;   /* of members */
  uint16_t values; /* the place of the function in the list; the keys' strings follow */
  json_guess_t inside[JSON_SHAPE_MEMBERS]; /* of the members' values */
  uint8_t lengths[JSON_SHAPE_MEMBERS];     /* of the pieces of the text */
  char text[JSON_SHAPE_TEXT +
            sizeof(uint64_t)]; /* `{"key":`, then `,"key":` for each; whole words can be read */
} json_shape_t;

/* Nothing that is here changes but for the guesses: when it is full others are begun, and it stays for as long as it is
 * being read by. */
struct json_shapes {
  unsigned count;
  json_shape_t each[JSON_SHAPES];
};

/* The list of the functions and the keys' strings is a table at the stack's index `list`; nil while there is none. */

/* The shape of a number from a guess, NULL when there is none. */
static inline json_shape_t *json_shape(json_shapes_t *shapes, int number) {
  return shapes && number > 0 && (unsigned)number <= shapes->count ? &shapes->each[number - 1] : NULL;
}

/* An object without a shape has come: `count` keys and values are on top of the stack, of the keys `places` is known.
 * Returns its shape's number, for the next such one; 0 while it has none. `*shapes` and the list are made when they are
 * needed. */
uint8_t json_shapes_note(json_state_t *state, json_shapes_t **shapes, lua_State *L, int strings, int list,
                         const uint8_t *places, int count);

#endif
