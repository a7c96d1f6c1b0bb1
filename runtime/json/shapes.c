/* json/shapes.c: what has come a few times gets a function. It is compiled from text, whose constructor has the keys as
 * constants: so LuaJIT makes the table by copying one. Making things runs finalizers, and these may read JSON: what was
 * there before is looked at behind it. */
#include "json/shapes.h"

#include <lauxlib.h>
#include <luajit.h>
#include <string.h>

enum {
  TIMES = 4,       /* that a shape comes before it gets a function */
  TIMES_FULL = 200 /* the same where all shapes are taken: then these are given up */
};

static uint32_t hash_of(const uint8_t *places, int count) {
  uint32_t hash = (uint32_t)count;
  for (int i = 0; i < count; i++) hash = (hash ^ places[i]) * UINT32_C(0x9e3779b1);
  return hash ? hash : 1;
}

/* Whether the keys that wait on the stack from `first` on are those of the shape. */
static bool is_of(const json_shape_t *shape, lua_State *L, int first, int count) {
  if (shape->count != count) return false;
  const char *piece = shape->text;
  for (int i = 0; i < count; piece += shape->lengths[i++]) {
    size_t length;
    const char *key = lua_tolstring(L, first + 2 * i, &length);
    if (length + 4 != shape->lengths[i] || memcmp(piece + 2, key, length) != 0) return false;
  }
  return true;
}

static bool fits(lua_State *L, int first, int count) {
  size_t all = 0;
  for (int i = 0; i < count; i++) all += lua_objlen(L, first + 2 * i) + 4;
  return all <= JSON_SHAPE_TEXT;
}

/* Nothing calls the function but C. Throws in a finalizer, where LuaJIT changes no modes. */
static int l_never_compile(lua_State *L) {
  luaJIT_setmode(L, 1, LUAJIT_MODE_FUNC | LUAJIT_MODE_OFF);
  return 0;
}

/* Pushes the function; false: there can be none now. The last key comes first, as where members are put into a table one by
 * one: `pairs` gives them in the same order then, but where keys meet in one place. A key is of bytes that stand for
 * themselves in a string of JSON: so they do in one of Lua. */
static bool push_function(lua_State *L, int first, int count) {
  luaL_Buffer text;
  luaL_buffinit(L, &text);
  luaL_addstring(&text, "return function(");
  for (int i = 0; i < count; i++) {
    if (i > 0) luaL_addchar(&text, ',');
    luaL_addchar(&text, (char)('a' + i));
  }
  luaL_addstring(&text, ") return {");
  for (int i = count - 1; i >= 0; i--) {
    size_t length;
    const char *key = lua_tolstring(L, first + 2 * i, &length);
    luaL_addstring(&text, "[\"");
    luaL_addlstring(&text, key, length);
    luaL_addstring(&text, "\"]=");
    luaL_addchar(&text, (char)('a' + i));
    luaL_addchar(&text, ',');
  }
  luaL_addstring(&text, "} end");
  luaL_pushresult(&text);
  size_t length;
  const char *source = lua_tolstring(L, -1, &length);
  bool loaded = luaL_loadbuffer(L, source, length, "=json") == 0;
  lua_remove(L, -2);
  if (!loaded) {
    lua_pop(L, 1);
    return false;
  }
  lua_call(L, 0, 1);
  lua_pushcfunction(L, l_never_compile);
  lua_pushvalue(L, -2);
  if (lua_pcall(L, 1, 0, 0) == 0) return true;
  lua_pop(L, 2);
  return false;
}

/* Begins a list. */
static json_shapes_t *begin(json_state_t *state, lua_State *L, int strings, int list) {
  json_shapes_t *shapes = lua_newuserdata(L, sizeof *shapes);
  shapes->count = 0;
  lua_createtable(L, JSON_SHAPE_MEMBERS, 0);
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, 0);
  lua_pushvalue(L, -1);
  lua_rawseti(L, strings, JSON_SHAPES_AT);
  lua_replace(L, list);
  lua_pop(L, 1);
  state->shapes = shapes;
  return shapes;
}

/* Adds a shape, whose function is on top of the stack and is popped. */
static uint8_t add(json_shapes_t *shapes, lua_State *L, int list, int first, int count) {
  json_shape_t *shape = &shapes->each[shapes->count];
  memset(shape, 0, sizeof *shape);
  int at = (int)lua_objlen(L, list) + 1;
  shape->count = (uint8_t)count;
  shape->values = (uint16_t)at;
  lua_rawseti(L, list, at);
  char *piece = shape->text;
  for (int i = 0; i < count; i++) {
    size_t length;
    const char *key = lua_tolstring(L, first + 2 * i, &length);
    piece[0] = i == 0 ? '{' : ',';
    piece[1] = '"';
    memcpy(piece + 2, key, length);
    piece[2 + length] = '"';
    piece[3 + length] = ':';
    shape->lengths[i] = (uint8_t)(length + 4);
    piece += length + 4;
    lua_pushvalue(L, first + 2 * i);
    lua_rawseti(L, list, at + 1 + i);
  }
  return (uint8_t)++shapes->count;
}

/* All are taken: the next text begins others. Whoever reads has these for as long as it does. */
static void give_up(json_state_t *state, lua_State *L, int strings) {
  memset(state->candidates, 0, sizeof state->candidates);
  state->shapes = NULL;
  lua_pushnil(L);
  lua_rawseti(L, strings, JSON_SHAPES_AT);
}

static uint8_t make(json_state_t *state, json_shapes_t **shapes, lua_State *L, int strings, int list,
                    int first, int count) {
  if (!fits(L, first, count) || !push_function(L, first, count)) return 0;
  if (*shapes != state->shapes) { /* a finalizer has begun others, or given these up */
    lua_pop(L, 1);
    return 0;
  }
  if (!*shapes) *shapes = begin(state, L, strings, list);
  if ((*shapes)->count == JSON_SHAPES) {
    lua_pop(L, 1);
    return 0;
  }
  return add(*shapes, L, list, first, count);
}

uint8_t json_shapes_note(json_state_t *state, json_shapes_t **shapes, lua_State *L, int strings, int list,
                         const uint8_t *places, int count) {
  if (*shapes != state->shapes) return 0;
  uint32_t hash = hash_of(places, count);
  json_candidate_t *candidate = &state->candidates[hash >> 16 & (JSON_CANDIDATES - 1)];
  if (candidate->hash != hash) {
    if (candidate->seen > 0 && --candidate->seen > 0) return 0;
    *candidate = (json_candidate_t){.hash = hash};
  }
  int first = lua_gettop(L) - 2 * count + 1;
  const json_shape_t *shape = json_shape(*shapes, candidate->shape);
  if (candidate->seen < TIMES_FULL) candidate->seen++;
  if (shape) return is_of(shape, L, first, count) ? candidate->shape : 0;
  bool full = *shapes && (*shapes)->count == JSON_SHAPES;
  if (candidate->seen < (full ? TIMES_FULL : TIMES)) return 0;
  if (full) {
    give_up(state, L, strings);
    return 0;
  }
  uint8_t made = make(state, shapes, L, strings, list, first, count);
  *candidate = (json_candidate_t){.hash = hash, .seen = 1, .shape = made};
  return made;
}
