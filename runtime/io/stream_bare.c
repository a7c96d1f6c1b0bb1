/* io/stream_bare.c: a stream without a handle of libuv's.
 * A connection that is accepted, asked and answered needs nothing of libuv: no handle is made, opened, closed and collected
 * for it. Where the peer has connected and not yet spoken, the descriptor is in an epoll of ours, once, which libuv watches
 * for all of them (`expected`). Whatever else has to wait, another read, a write, Lua's question for the handle, makes one
 * first (stream_need_handle), and the stream is as any other from there on. */
#include "io/stream_shared.h"

#include <lauxlib.h>
#include <luv/lhandle.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Those whose peer is about to speak ---------------------------------------------------------------------- */

enum { READY_AT_ONCE = 64 };

struct stream_ready {
  struct epoll_event events[READY_AT_ONCE];
  int count;
};

static void expected_no_more(stream_t *s) {
  stream_shared_t *shared = s->shared;
  s->expected = false;
  if (--shared->expected == 0) uv_unref((uv_handle_t *)&shared->expecting);
}

static void forget(stream_t *s) {
  if (!s->expected) return;
  stream_ready_t *ready = s->shared->ready;
  for (int i = 0; ready != NULL && i < ready->count; i++) {
    if (ready->events[i].data.ptr == s) ready->events[i].data.ptr = NULL;
  }
  epoll_ctl(s->shared->expecting_fd, EPOLL_CTL_DEL, s->fd, NULL);
  expected_no_more(s);
}

static void look(stream_t *s) {
  expected_no_more(s);
  if (!s->wanted) return;
  int rc = stream_read_now(s) ? 0 : stream_read(s, true);
  if (rc < 0) s->owner->failed(s, rc);
}

static void on_ready(uv_poll_t *poll, int status, int events) {
  stream_shared_t *shared = (stream_shared_t *)((char *)poll - offsetof(stream_shared_t, expecting));
  stream_ready_t ready;
  (void)status;
  (void)events;
  ready.count = epoll_wait(shared->expecting_fd, ready.events, READY_AT_ONCE, 0);
  shared->ready = &ready;
  for (int i = 0; i < ready.count; i++) {
    if (ready.events[i].data.ptr != NULL) look(ready.events[i].data.ptr);
    callback_end_turn(shared->L);
  }
  shared->ready = NULL;
}

static bool start_expecting(stream_shared_t *shared) {
  int fd = epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) return false;
  if (uv_poll_init(shared->loop, &shared->expecting, fd) < 0) {
    close(fd);
    return false;
  }
  uv_poll_start(&shared->expecting, UV_READABLE, on_ready);
  uv_unref((uv_handle_t *)&shared->expecting);
  shared->expecting_fd = fd;
  return true;
}

bool stream_expect(stream_t *s) {
  stream_shared_t *shared = s->shared;
  struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, .data = {.ptr = s}};
  if (shared->expecting_fd == 0 && !start_expecting(shared)) return false;
  if (epoll_ctl(shared->expecting_fd, EPOLL_CTL_ADD, s->fd, &event) < 0) return false;
  s->expected = true;
  if (shared->expected++ == 0) uv_ref((uv_handle_t *)&shared->expecting);
  return true;
}

void stream_bare_moved(stream_t *to, stream_t *from) {
  if (!from->expected) return;
  forget(from);
  to->expected = false;
  if (!stream_expect(to)) stream_read(to, true);
}

/* The handle ---------------------------------------------------------------------------------------------- */

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
  forget(s);
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

/* The end ------------------------------------------------------------------------------------------------- */

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
  forget(s);
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
