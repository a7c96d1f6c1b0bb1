/* host/pool.h: memory for the small objects of a Lua state. */
#ifndef LRUN_HOST_POOL_H
#define LRUN_HOST_POOL_H

#include <lua.h>

typedef struct pool pool_t;

/* From now on the state takes small blocks from a pool, and all others from where it took them before. NULL: it goes on
 * as before. */
pool_t *pool_open(lua_State *L);

/* Once the state is closed. What its own allocator has from the system stays there: it is the process's end. */
void pool_close(pool_t *pool);

#endif
