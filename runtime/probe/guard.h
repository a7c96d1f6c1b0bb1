/* probe/guard.h: functions of `lrun.core.probe` that its files share. */
#ifndef LRUN_PROBE_GUARD_H
#define LRUN_PROBE_GUARD_H

#include <lua.h>

/* In a hook: stops the chunk that runs on L where its client says so. */
void probe_guard_look(lua_State *L);

int probe_l_guarded(lua_State *L);
int probe_l_size(lua_State *L);
int probe_l_tee(lua_State *L);
int probe_l_waits(lua_State *L);

#endif
