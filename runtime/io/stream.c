/* io/stream.c: a stream's life and its reading; see io/stream.h. Its output is in io/stream_write.c.
 *
 * The handle is luv's: luv_handle_t.extra points to the stream. stream_close, stream_release and stream_move are the
 * ways out; after each `handle` is NULL. */
#include "io/stream.h"

#include "host/bundle.h"
#include "host/vm.h"
#include "io/stream_shared.h"

#include <lauxlib.h>
#include <luv/lhandle.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

const stream_kind_t stream_plain = {.received = stream_deliver, .ended = stream_deliver_end};

static const char shared_key = 's'; /* its address is the registry key */

static int ref_of(lua_State *L, const char *name) {
  lua_getfield(L, -1, name);
  return luaL_ref(L, LUA_REGISTRYINDEX);
}

static stream_shared_t *make_shared(lua_State *L) {
  lua_pushlightuserdata(L, (void *)&shared_key);
  stream_shared_t *shared = lua_newuserdata(L, sizeof *shared);
  memset(shared, 0, offsetof(stream_shared_t, read_buffer));
  vm_t *vm = vm_of(L);
  shared->L = vm_state(vm);
  shared->loop = vm_loop(vm);
  lua_rawset(L, LUA_REGISTRYINDEX);
  bundle_require(L, "luv");
  shared->close = ref_of(L, "close");
  shared->new_tcp = ref_of(L, "new_tcp");
  shared->new_pipe = ref_of(L, "new_pipe");
  lua_pop(L, 1);
  vm_at_flush(vm, stream_flush_all, shared);
  vm_at_exit(vm, stream_forget_all, shared);
  return shared;
}

static stream_shared_t *shared_of(lua_State *L) {
  lua_pushlightuserdata(L, (void *)&shared_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  stream_shared_t *shared = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return shared != NULL ? shared : make_shared(L);
}

uv_loop_t *stream_loop(const stream_t *s) { return s->shared->loop; }
lua_State *stream_state(const stream_t *s) { return s->shared->L; }

static luv_handle_t *luv_data(const stream_t *s) { return s->handle->data; }

static void link_stream(stream_t *s) {
  LIST_INSERT_HEAD(&s->shared->streams, s, link);
  if (s->handle != NULL) luv_data(s)->extra = s;
}

static void unlink_stream(stream_t *s) {
  LIST_REMOVE(s, link);
  if (s->handle != NULL) luv_data(s)->extra = NULL;
}

static void begin(lua_State *L, stream_t *s, const stream_kind_t *kind, const stream_owner_t *owner) {
  s->shared = shared_of(L);
  s->kind = kind;
  s->owner = owner;
  s->active = uv_now(s->shared->loop);
  link_stream(s);
}

void stream_open(lua_State *L, stream_t *s, uv_stream_t *handle, const stream_kind_t *kind,
                 const stream_owner_t *owner) {
  *s = (stream_t){.handle = handle};
  begin(L, s, kind, owner);
}

void stream_open_bare(lua_State *L, stream_t *s, int fd, const stream_owner_t *owner) {
  *s = (stream_t){.fd = fd, .bare = true};
  begin(L, s, &stream_plain, owner);
}

uv_stream_t *stream_detach(stream_t *s) {
  uv_stream_t *handle = s->handle;
  if (handle != NULL) uv_read_stop(handle);
  stream_soon_done(s);
  stream_drop_output(s);
  unlink_stream(s);
  if (s->kind->free != NULL) s->kind->free(s);
  s->handle = NULL;
  s->bare = false;
  s->state = NULL;
  s->reading = s->wanted = false;
  return handle;
}

/* Lets go what the kernel holds back, with the end of our side. The close that follows would do the same, but for a peer that
 * has sent what nobody reads: there it resets the connection, and throws away what is held back. */
static void end_packet(stream_t *s) {
  uv_os_fd_t fd;
  if (stream_descriptor(s, &fd) == 0) shutdown(fd, SHUT_WR);
}

void stream_close(lua_State *L, stream_t *s) {
  if (!stream_is_open(s)) {
    lua_pop(L, 1);
    return;
  }
  if (!s->shut && !s->cut) {
    s->shared->flushing = true;
    s->corked = false;
    stream_flush_last(s);
    s->shared->flushing = false;
  }
  if (s->held_back) end_packet(s);
  if (s->bare) {
    stream_close_bare(L, s);
    return;
  }
  luaL_checkstack(L, 4, "stream_close");
  lua_rawgeti(L, LUA_REGISTRYINDEX, s->shared->close);
  lua_insert(L, -2);
  lua_rawgeti(L, LUA_REGISTRYINDEX, luv_data(s)->ref);
  lua_insert(L, -2);
  stream_detach(s);
  if (lua_pcall(L, 2, 0, 0) != 0) lua_pop(L, 1); /* someone closed it before us */
}

uv_stream_t *stream_release(stream_t *s) {
  if (!stream_is_open(s) || stream_need_handle(s) < 0) return NULL;
  if (s->kind->reclaim != NULL) {
    stream_push(s);
    stream_read(s, false);
    s->kind->reclaim(s);
    return NULL;
  }
  stream_write_rest(s); /* an error shows when the new owner uses the handle */
  return stream_detach(s);
}

void stream_move(stream_t *to, stream_t *from, const stream_owner_t *owner) {
  stream_soon_done(from);
  *to = *from;
  to->owner = owner;
  to->corked = false;
  if (!stream_is_open(from)) return;
  unlink_stream(from);
  link_stream(to);
  stream_bare_moved(to, from);
  stream_write_moved(to);
  if (to->kind->moved != NULL) to->kind->moved(to);
  stream_shared_t *shared = from->shared;
  memset(from, 0, sizeof *from);
  from->shared = shared;
}

static const char lender_key = 'l'; /* its address is the key in a metatable */

void stream_lender(lua_State *L, stream_lend_t lend) {
  stream_lend_t *to = lua_newuserdata(L, sizeof *to);
  *to = lend;
  lua_pushlightuserdata(L, (void *)&lender_key);
  lua_insert(L, -2);
  lua_rawset(L, -3);
}

bool stream_lent(lua_State *L, int index, stream_t **lent) {
  void *userdata = lua_touserdata(L, index);
  *lent = NULL;
  if (userdata == NULL || !lua_getmetatable(L, index)) return false;
  lua_pushlightuserdata(L, (void *)&lender_key);
  lua_rawget(L, -2);
  const stream_lend_t *lend = lua_touserdata(L, -1);
  lua_pop(L, 2);
  if (lend != NULL) *lent = (*lend)(userdata);
  return lend != NULL;
}

static stream_t *stream_of(const uv_handle_t *handle) { return ((luv_handle_t *)handle->data)->extra; }

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  (void)suggested;
  *buf = uv_buf_init(stream_of(handle)->shared->read_buffer, STREAM_READ_SIZE);
}

static void take_read(stream_t *s, size_t len) {
  stream_shared_t *shared = s->shared;
  s->active = uv_now(shared->loop);
  if (s->deaf) return;
  shared->read_buffer_used = true;
  s->kind->received(s, shared->read_buffer, len);
  shared->read_buffer_used = false;
}

static void on_read(uv_stream_t *handle, ssize_t nread, const uv_buf_t *buf) {
  (void)buf;
  stream_t *s = stream_of((uv_handle_t *)handle);
  if (nread == 0 || s == NULL) return;
  if (nread == UV_EOF) {
    if (s->deaf) stream_deliver_end(s);
    else s->kind->ended(s);
  } else if (nread < 0) {
    s->owner->failed(s, (int)nread);
  } else {
    take_read(s, (size_t)nread);
  }
}

void stream_deliver(stream_t *s, const char *data, size_t len) {
  s->received += len;
  s->owner->received(s, data, len);
}

void stream_deliver_end(stream_t *s) { s->owner->ended(s); }

void stream_fail(stream_t *s, int error) { s->owner->failed(s, error); }

void stream_push_failure(lua_State *L, stream_t *s, int error) {
  luaL_checkstack(L, 8, "stream_push_failure");
  if (error == UV_EPROTO && stream_is_open(s) && s->kind->explain != NULL) s->kind->explain(s, L);
  else lua_pushnil(L);
}

int stream_read(stream_t *s, bool on) {
  if (!stream_is_open(s)) return 0;
  s->wanted = on;
  on = on || s->opening || s->deaf;
  if (on == s->reading) return 0;
  int rc = stream_need_handle(s);
  if (rc < 0) return rc;
  s->reading = on;
  return on ? uv_read_start(s->handle, on_alloc, on_read) : uv_read_stop(s->handle);
}

/* libuv accepts as long as anybody connects: others must get their turn, too. */
static bool may_read_first(stream_shared_t *shared) {
  if (shared->read_buffer_used) return false;
  uint64_t now = uv_now(shared->loop);
  if (shared->first_reads_at != now) shared->first_reads = 0;
  shared->first_reads_at = now;
  return shared->first_reads++ < STREAM_FIRST_READS;
}

bool stream_read_now(stream_t *s) {
  uv_os_fd_t fd;
  if (stream_descriptor(s, &fd) < 0) return false;
  ssize_t n = recv(fd, s->shared->read_buffer, STREAM_READ_SIZE, MSG_DONTWAIT);
  if (n > 0) take_read(s, (size_t)n);
  return n > 0;
}

int stream_read_first(stream_t *s) {
  if (!stream_is_open(s)) return 0;
  /* A kind may be at work on the read buffer just now. */
  if (s->reading || s->kind != &stream_plain || !may_read_first(s->shared)) return stream_read(s, true);
  s->wanted = true;
  if (stream_read_now(s) || (s->bare && stream_expect(s))) return 0;
  return stream_read(s, true); /* libuv sees an end or an error again */
}

static void on_shutdown(uv_shutdown_t *req, int status) {
  (void)status;
  free(req);
}

int stream_shutdown(stream_t *s) {
  if (!stream_is_open(s) || s->shut) return 0;
  if (s->kind->finish != NULL && !s->parted) {
    s->kind->finish(s);
    int rc = stream_push(s);
    if (rc < 0) return rc;
  }
  int rc = stream_need_handle(s);
  if (rc < 0) return rc;
  uv_shutdown_t *req = malloc(sizeof *req);
  if (req == NULL) return UV_ENOMEM;
  rc = uv_shutdown(req, s->handle, on_shutdown);
  if (rc < 0) free(req);
  else s->shut = true;
  return rc;
}

int stream_linger(stream_t *s) {
  int rc = stream_shutdown(s);
  if (rc < 0 || !stream_is_open(s)) return rc;
  s->deaf = true;
  return stream_read(s, true);
}

void stream_nodelay(stream_t *s) {
  if (stream_is_open(s) && stream_need_handle(s) == 0 && s->handle->type == UV_TCP)
    uv_tcp_nodelay((uv_tcp_t *)s->handle, 1);
}
