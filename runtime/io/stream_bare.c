/* io/stream_bare.c: a stream without a handle of libuv's.
 * A connection that is accepted, asked and answered within one turn needs nothing of libuv: no handle is made, opened,
 * closed and collected for it. Whatever has to wait for the loop, a read, a write, Lua's question for the handle, makes one
 * first (stream_need_handle), and the stream is as any other from there on. */
#include "io/stream_shared.h"

#include <lauxlib.h>
#include <luv/lhandle.h>
#include <sys/socket.h>
#include <unistd.h>

static bool is_unix(int fd) {
  int domain = 0;
  socklen_t size = sizeof domain;
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

/* Closes a handle that could not be opened. */
static void close_handle(lua_State *L, const stream_shared_t *shared, const uv_stream_t *handle) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, shared->close);
  lua_rawgeti(L, LUA_REGISTRYINDEX, ((luv_handle_t *)handle->data)->ref);
  if (lua_pcall(L, 1, 0, 0) != 0) lua_pop(L, 1);
}

int stream_need_handle(stream_t *s) {
  if (!s->bare) return 0;
  const stream_shared_t *shared = s->shared;
  lua_State *L = shared->L;
  bool local = is_unix(s->fd);
  luaL_checkstack(L, 4, "stream_need_handle");
  lua_rawgeti(L, LUA_REGISTRYINDEX, local ? shared->new_pipe : shared->new_tcp);
  if (lua_pcall(L, 0, 1, 0) != 0) {
    lua_pop(L, 1);
    return UV_ENOMEM;
  }
  uv_stream_t *handle = *(uv_stream_t **)lua_touserdata(L, -1);
  lua_pop(L, 1); /* luv keeps it until it is closed */
  int rc = local ? uv_pipe_open((uv_pipe_t *)handle, s->fd) : uv_tcp_open((uv_tcp_t *)handle, s->fd);
  if (rc < 0) {
    close_handle(L, shared, handle);
    return rc;
  }
  s->handle = handle;
  s->bare = false;
  ((luv_handle_t *)handle->data)->extra = s;
  return 0;
}

void stream_push_handle(lua_State *L, stream_t *s) {
  if (stream_is_open(s) && stream_need_handle(s) == 0)
    lua_rawgeti(L, LUA_REGISTRYINDEX, ((luv_handle_t *)s->handle->data)->ref);
  else lua_pushnil(L);
}

/* The function enters Lua by itself. */
static void tell(lua_State *L, int ref) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
  luaL_unref(L, LUA_REGISTRYINDEX, ref);
  if (lua_pcall(L, 0, 0, 0) != 0) lua_pop(L, 1);
}

static void tell_closed(callback_end_t *end) {
  stream_shared_t *shared = (stream_shared_t *)((char *)end - offsetof(stream_shared_t, closed_end));
  buffer_t closed = shared->closed;
  shared->closed = (buffer_t){0};
  shared->closed_end_asked = false;
  const int *refs = (const int *)closed.data;
  for (size_t i = 0; i < closed.len / sizeof *refs; i++) tell(shared->L, refs[i]);
  closed.len = 0;
  if (shared->closed.data == NULL) shared->closed = closed;
  else buffer_free(&closed);
}

void stream_close_bare(lua_State *L, stream_t *s) {
  stream_shared_t *shared = s->shared;
  int fd = s->fd, ref = luaL_ref(L, LUA_REGISTRYINDEX);
  stream_detach(s);
  close(fd);
  if (buffer_add(&shared->closed, (const char *)&ref, sizeof ref) < 0) { /* better early than never */
    tell(L, ref);
    return;
  }
  if (shared->closed_end_asked) return;
  shared->closed_end_asked = true;
  shared->closed_end.run = tell_closed;
  callback_at_end(shared->L, &shared->closed_end);
}
