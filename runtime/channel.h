/* channel.h: the IPC channel between two processes, over one connected unix socket. */
#ifndef LRUN_CHANNEL_H
#define LRUN_CHANNEL_H

#include "frame.h"
#include <lua.h>

typedef struct channel channel_t; /* fields live in channel.c */

/* Opens a channel over `fd`, which it owns from here on, also on failure, and pushes its userdata. The two functions
 * are registry refs that it owns as well: on_message(message, fd or nil, kind or nil), once for each message, and
 * on_close(reason or nil), once. Returns 0 or UV_E*. */
int channel_open(lua_State *L, int fd, frame_wire_t wire, int on_message, int on_close);

#endif
