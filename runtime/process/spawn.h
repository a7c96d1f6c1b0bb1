/* process/spawn.h: the parts of the module `lrun.core.spawn`. */
#ifndef LRUN_PROCESS_SPAWN_H
#define LRUN_PROCESS_SPAWN_H

#include <lua.h>

/* sync(plan) → result: see process/spawn_sync.c. */
int spawn_sync(lua_State *L);

#endif
