/* io/handle_stream.h: luv's stream handles as C has them. */
#ifndef LRUN_IO_HANDLE_STREAM_H
#define LRUN_IO_HANDLE_STREAM_H

#include <lua.h>
#include <uv.h>

/* libuv's stream of the value at `index`; NULL where that is no TCP or unix socket or pipe of luv's, but another protocol's
 * handle, or anything else. It may be closing. */
uv_stream_t *handle_stream(lua_State *L, int index);

#endif
