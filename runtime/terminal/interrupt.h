/* terminal/interrupt.h: Ctrl-C at the prompt: it stops the chunk that runs, or wakes the loop. */
#ifndef LRUN_TERMINAL_INTERRUPT_H
#define LRUN_TERMINAL_INTERRUPT_H

#include <lua.h>
#include <stdbool.h>
#include <uv.h>

/* From now on SIGINT sends `wake`, which the caller owns. One VM of a process may have it. */
void interrupt_open(lua_State *L, uv_async_t *wake);

/* Takes SIGINT again when a listener in Lua had it and gave it back. */
void interrupt_renew(void);

/* In the callback of `wake`: whether SIGINT came since the last time. */
bool interrupt_take(void);

void interrupt_close(void);

#endif
