/* host/userdata.c: see host/userdata.h. */
#include "host/userdata.h"

#include <string.h>

void userdata_class(lua_State *L, const char *name, const luaL_Reg *functions) {
  luaL_newmetatable(L, name);
  luaL_register(L, NULL, functions);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

void userdata_address(lua_State *L, const char *name, address_t address) {
  void *pointer;
  memcpy(&pointer, &address, sizeof pointer);
  lua_pushlightuserdata(L, pointer);
  lua_setfield(L, -2, name);
}

void userdata_numbers(lua_State *L, const char *name, const userdata_number_t *numbers) {
  lua_newtable(L);
  for (; numbers->name != NULL; numbers++) {
    lua_pushinteger(L, numbers->value);
    lua_setfield(L, -2, numbers->name);
  }
  lua_setfield(L, -2, name);
}
