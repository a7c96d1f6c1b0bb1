/* files/work.h: one piece of work on libuv's pool whose end a Lua function is told. */
#ifndef LRUN_FILES_WORK_H
#define LRUN_FILES_WORK_H

#include <lua.h>
#include <uv.h>

typedef struct work work_t;
struct work {
  uv_work_t request;
  void (*run)(work_t *work); /* on the pool */
  int (*push)(work_t *work,
              lua_State *co); /* on the loop: pushes what the function is called with, returns how many */
  void (*free)(work_t *work); /* at the end, after `push`, also if it was never run */
  lua_State *L;
  int callback; /* registry ref */
};

/* Starts it; `callback` is the index of the function. The work is freed by itself. */
void work_start(lua_State *L, work_t *work, int callback);

#endif
