/* host/collector.h: when the garbage collector runs. */
#ifndef LRUN_HOST_COLLECTOR_H
#define LRUN_HOST_COLLECTOR_H

#include <lua.h>

/* Nothing is collected until collector_start. */
void collector_stop(lua_State *L);

/* From now on a collection begins when the heap has doubled, or grown by a mebibyte if that is more. Once. */
void collector_start(lua_State *L);

#endif
