/* io/under_way.h: what libuv does for Lua and tells later: the registry holds meanwhile what it needs of Lua's. When the VM ends
 * first, it is nobody's any more: its memory is freed when libuv lets go of it, and nothing else may be done. */
#ifndef LRUN_IO_UNDER_WAY_H
#define LRUN_IO_UNDER_WAY_H

#include <lua.h>
#include <sys/queue.h>

typedef struct under_way {
  LIST_ENTRY(under_way) link;
  lua_State *L; /* the main state; NULL when the VM has ended */
  int ref;      /* registry ref of what is held */
} under_way_t;

/* Begins: takes the value on top of L. It may throw, and has changed nothing then. */
void under_way_begin(lua_State *L, under_way_t *it);

/* Ends: the value is let go, unless the VM has ended. */
void under_way_end(under_way_t *it);

#endif
