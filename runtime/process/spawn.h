/* process/spawn.h: what asynchronous and synchronous children share: the plan of a child as libuv wants it. */
#ifndef LRUN_PROCESS_SPAWN_H
#define LRUN_PROCESS_SPAWN_H

#include <lua.h>
#include <uv.h>

enum { SPAWN_IGNORE = -1, SPAWN_PIPE = -2 }; /* in a slot instead of a descriptor */

enum { SPAWN_MAX_SLOTS = 4096 };

/* Fills `options` from the plan, a table at `index` whose values lualib/lrun/child/plan.lua has checked:
 *   file  string                    args   sequence of strings, the first one argv[0]
 *   env   sequence of "NAME=value", or nil to inherit
 *   cwd   string?                   uid, gid  number?      detached  boolean?
 *   stdio sequence of slots: a descriptor to lend, SPAWN_IGNORE, or SPAWN_PIPE
 * Every slot is set up as UV_INHERIT_FD or UV_IGNORE; SPAWN_PIPE slots as UV_IGNORE, for the caller to
 * change. Strings stay in the plan and arrays become userdata on the stack: both must outlive the use of
 * `options`. */
void spawn_read_plan(lua_State *L, int index, uv_process_options_t *options);

/* The slot's number in the plan: a descriptor, SPAWN_IGNORE or SPAWN_PIPE. */
int spawn_slot(lua_State *L, int index, int slot);

/* uv_spawn, for a child that gets the descriptors of its slots and no others. */
int spawn_process(uv_loop_t *loop, uv_process_t *process, const uv_process_options_t *options);

/* sync(plan) → result: see process/spawn_sync.c. */
int spawn_sync(lua_State *L);

#endif
