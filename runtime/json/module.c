/* json/module.c: the module `lrun.core.json`, which lualib/json.lua makes the public one of. */
#include "json/json.h"

#include "host/modules.h"
#include <lauxlib.h>

/* The keys above the value at 1, in the order of json_encode, as a list. */
static void push_path(lua_State *L) {
  int top = lua_gettop(L);
  luaL_checkstack(L, 4, NULL);
  lua_createtable(L, top / 2, 0);
  for (int at = 2; at <= top; at += 2) {
    lua_pushvalue(L, at);
    lua_rawseti(L, -2, at / 2);
  }
}

/* encode(value) → text; or nil, why, and the list of keys that lead to what could not be encoded */
static int l_encode(lua_State *L) {
  json_text_t text;
  lua_settop(L, 1);
  const char *reason = json_encode(L, JSON_STRICT, &text);
  if (!reason) lua_pushlstring(L, text.bytes, text.length);
  json_release(L, &text);
  if (!reason) return 1;
  push_path(L);
  lua_pushnil(L);
  lua_pushstring(L, reason);
  lua_pushvalue(L, -3);
  return 3;
}

/* decode(text) → value; or nil, the offset (from 1) of what is wrong, and why */
static int l_decode(lua_State *L) {
  size_t length;
  json_fault_t fault;
  const char *text = luaL_checklstring(L, 1, &length);
  if (json_decode(L, text, length, JSON_STRICT, &fault) == 0) return 1;
  lua_pushnil(L);
  lua_pushnumber(L, (lua_Number)fault.offset + 1);
  lua_pushstring(L, fault.reason);
  return 3;
}

int luaopen_lrun_json(lua_State *L) {
  static const luaL_Reg functions[] = {{"encode", l_encode}, {"decode", l_decode}, {NULL, NULL}};
  lua_createtable(L, 0, 3);
  luaL_setfuncs(L, functions, 0);
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null"); /* what lua-cjson calls null, too */
  return 1;
}
