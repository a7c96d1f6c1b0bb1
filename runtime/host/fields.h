/* host/fields.h: what Lua says in a table of named fields. */
#ifndef LRUN_HOST_FIELDS_H
#define LRUN_HOST_FIELDS_H

#include <lua.h>
#include <stdbool.h>

/* Whether the field `name` of the table at `index` is set: neither nil nor false. */
static inline bool fields_flag(lua_State *L, int index, const char *name) {
  lua_getfield(L, index, name);
  bool set = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return set;
}

#endif
