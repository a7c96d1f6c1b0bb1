/* userdata.h: classes of userdata. */
#ifndef LRUN_USERDATA_H
#define LRUN_USERDATA_H

#include <lauxlib.h>

/* Makes the metatable `name`; its functions are the methods, too. */
void userdata_class(lua_State *L, const char *name, const luaL_Reg *functions);

#endif
