/* interrupt.h: Ctrl-C at the prompt: it stops the chunk that runs, or wakes the loop. */
#ifndef LRUN_INTERRUPT_H
#define LRUN_INTERRUPT_H

#include <lua.h>
#include <stdbool.h>
#include <uv.h>

/* From now on SIGINT sends `wake`, which the caller owns. One VM of a process may have it. */
void interrupt_open(lua_State *L, uv_async_t *wake);

/* Takes SIGINT again when a listener in Lua had it and gave it back. */
void interrupt_renew(void);

/* While a chunk runs, SIGINT makes it throw "interrupted!" again and again until the guard is taken off. Code
 * that LuaJIT has compiled does not notice: the caller sees to it that none runs. Returns whether it was
 * interrupted. */
void interrupt_guard(lua_State *L);
bool interrupt_unguard(lua_State *L);

/* In the callback of `wake`: whether SIGINT came since the last time. */
bool interrupt_take(void);

void interrupt_close(void);

#endif
