/* host/collector.h: when the garbage collector runs. */
#ifndef LRUN_HOST_COLLECTOR_H
#define LRUN_HOST_COLLECTOR_H

#include <lua.h>
#include <stddef.h>

/* Nothing is collected until collector_start. */
void collector_stop(lua_State *L);

/* From now on a collection begins when the heap has doubled, or grown by a mebibyte if that is more. Once. */
void collector_start(lua_State *L);

/* Much was given up at once, as a connection's upgrade does with all that HTTP had of it, and there may be thousands of that:
 * a collection begins when the heap has grown by a quarter, and goes on in larger steps, one at each call. Else as much
 * memory as everything else together takes would lie in what is over. */
void collector_hurry(lua_State *L);

/* So many bytes were decoded by string.buffer, for which LuaJIT takes one step of a collection that is under way, as
 * for a small string: this takes the others. Without them the heap grows for ever. */
void collector_decoded(lua_State *L, size_t bytes);

#endif
