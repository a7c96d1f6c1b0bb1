/* host/userdata.h: classes of userdata, and functions that compiled code calls through the FFI. */
#ifndef LRUN_HOST_USERDATA_H
#define LRUN_HOST_USERDATA_H

#include <lauxlib.h>

/* Makes the metatable `name`; its functions are the methods, too. */
void userdata_class(lua_State *L, const char *name, const luaL_Reg *functions);

/* Puts a C function's address into the table on top. LuaJIT's compiled code calls it through the FFI without
 * leaving its trace, so it must neither enter Lua nor use a Lua state. */
typedef void (*address_t)(void);
void userdata_address(lua_State *L, const char *name, address_t address);

/* Puts a table of numbers, those that Lua must know as well, into the table on top. The list ends with a NULL name. */
typedef struct {
  const char *name;
  int value;
} userdata_number_t;
void userdata_numbers(lua_State *L, const char *name, const userdata_number_t *numbers);

#endif
