/* host/hooks.h: the Lua functions that the host calls of its own accord; lualib sets them through `lrun.core.vm`. */
#ifndef LRUN_HOST_HOOKS_H
#define LRUN_HOST_HOOKS_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum {
  HOOK_UNCAUGHT,    /* (coroutine, error): nobody caught it */
  HOOK_TICK,        /* (): run process.nextTick's queue */
  HOOK_BEFORE_EXIT, /* (): the loop has drained */
  HOOK_EXIT,        /* (): the process is about to end; sets the exit code through lrun.vm.exit */
  HOOK_OUTPUT,      /* (code): standard output takes no more, a negative number of libuv's */
  HOOK_FLUSH, /* (): what Lua still holds for the kernel: before the process ends, blocks or starts another */
  HOOK_COUNT
} hook_t;

/* Where the host keeps what belongs to a Lua state: the first entries of the registry, taken before luaL_ref
 * hands any out. Every entry into Lua looks there. */
enum { SLOT_VM = 1, SLOT_CALLBACKS = 2, SLOT_REQUIRE = 3, SLOT_LIVING = 4, SLOT_JSON = 5, SLOT_MADE = 6 };

/* Makes the state behind host/callback.h; once for each main Lua state, before luv is opened. */
void callback_init(lua_State *L);

/* Takes the function on top of L. */
void callback_set_hook(lua_State *L, hook_t hook);

/* From now on the first callback of a turn of the loop writes its time (uv_hrtime) to `started` where that is
 * 0. */
void callback_watch_turns(lua_State *L, volatile uint64_t *started);

/* Pushes the hook's function; pushes nothing and returns false when it was never set. */
bool callback_push_hook(lua_State *L, hook_t hook);

#endif
