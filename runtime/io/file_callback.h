/* io/file_callback.h: a Lua function that hears what became of a range of a file on its way out. */
#ifndef LRUN_IO_FILE_CALLBACK_H
#define LRUN_IO_FILE_CALLBACK_H

#include "io/stream.h"

#include <lua.h>

/* Has the function at `index`, or nobody where it is nil, called with a negative code or nil and the number of bytes that
 * were sent. 0 or UV_ENOMEM. */
int file_callback_open(lua_State *L, int index, stream_file_t *file);

/* The range was not taken: the function is not called. */
void file_callback_drop(const stream_file_t *file);

/* The VM has ended: nobody is called. */
void file_callback_forget(const stream_file_t *file);

#endif
