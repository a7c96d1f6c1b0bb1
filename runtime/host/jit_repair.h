/* host/jit_repair.h: mends what LuaJIT's compiler of Debian 12 does wrong. */
#ifndef LRUN_HOST_JIT_REPAIR_H
#define LRUN_HOST_JIT_REPAIR_H

#include <lua.h>

/* From now on each piece of compiled code is looked at before it runs. Nothing where the compiler does it right. */
void jit_repair_begin(lua_State *L);

#endif
