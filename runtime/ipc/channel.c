/* ipc/channel.c: owns one connected unix socket and its handles of libuv. What comes in is taken by ipc/channel_read.c, what
 * goes out is written by ipc/channel_write.c.
 *
 * Life: open → closing (no more sends; what is queued is written) → closed (socket gone, on_close has run,
 * memory is freed when libuv lets go of the handles). The poll handle keeps the loop alive while Lua asked
 * for that (`refed`), while it closes, or while bytes wait. */
#include "ipc/channel_shared.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
  SOCKET_BUFFER = 208 * 1024, /* the kernel doubles it: a reader has work left while a full writer wakes up */
  HANDLES = 4
};

bool channel_is_passing(int rc) { return rc == -ETOOMANYREFS || rc == UV_ENOMEM || rc == UV_ENOBUFS; }

static void on_retry(uv_timer_t *retry) {
  channel_t *ch = retry->data;
  channel_flush(ch);
  if (ch->closed || !ch->unread) return;
  ch->unread = false;
  if (ch->on_drained != LUA_NOREF) channel_read_rest(ch);
  else channel_read_in(ch);
  if (!ch->closed) channel_watch(ch);
}

void channel_wait_for_others(channel_t *ch) {
  if (!uv_is_active((uv_handle_t *)&ch->retry)) uv_timer_start(&ch->retry, on_retry, CHANNEL_RETRY_MS, 0);
}

/* libuv has stopped polling. A peer that went away with our bytes unread shows as an error; what it had sent
 * before is still there to read. */
static void on_poll_error(channel_t *ch, int status) {
  double before = ch->bytes_received;
  ch->events = 0;
  ch->paused = false;
  channel_read_in(ch);
  if (ch->closed || ch->unread) return;
  if (ch->bytes_received == before) channel_shut(ch, uv_strerror(status));
  else channel_watch(ch);
}

static void on_poll(uv_poll_t *poll, int status, int events) {
  channel_t *ch = poll->data;
  if (status < 0) return on_poll_error(ch, status);
  if (events & UV_WRITABLE) {
    ch->writable = true;
    channel_flush(ch);
  }
  if (ch->closed) return;
  if (events & UV_DISCONNECT) ch->paused = false;
  if (events & (UV_READABLE | UV_DISCONNECT)) channel_read_in(ch);
  if (!ch->closed) channel_watch(ch);
}

void channel_watch(channel_t *ch) {
  int events = (ch->paused || ch->unread ? UV_DISCONNECT : UV_READABLE) | (ch->writable ? 0 : UV_WRITABLE);
  bool refed = ch->refed || ch->closing || !outbox_is_empty(&ch->outbox);
  if (refed != (bool)uv_has_ref((uv_handle_t *)&ch->poll)) {
    if (refed) uv_ref((uv_handle_t *)&ch->poll);
    else uv_unref((uv_handle_t *)&ch->poll);
  }
  if (events == ch->events) return;
  ch->events = events;
  uv_poll_start(&ch->poll, events, on_poll);
}

static void on_handle_closed(uv_handle_t *handle) {
  channel_t *ch = handle->data;
  if (--ch->open_handles > 0) return;
  frame_reader_free(&ch->reader);
  keys_free(ch->keys);
  free(ch);
}

static void drop_refs(channel_t *ch) {
  lua_State *L = vm_state(ch->vm);
  if (ch->box) *ch->box = NULL;
  luaL_unref(L, LUA_REGISTRYINDEX, ch->on_batch);
  luaL_unref(L, LUA_REGISTRYINDEX, ch->on_close);
  luaL_unref(L, LUA_REGISTRYINDEX, ch->on_drained);
  luaL_unref(L, LUA_REGISTRYINDEX, ch->self);
}

/* Pushes the callbacks of what was not written, in a table. */
static void push_waits(lua_State *L, channel_t *ch) {
  lua_newtable(L);
  for (int i = 1; !STAILQ_EMPTY(&ch->waits); i++) {
    callback_wait_t *wait = STAILQ_FIRST(&ch->waits);
    STAILQ_REMOVE_HEAD(&ch->waits, link);
    lua_rawgeti(L, LUA_REGISTRYINDEX, wait->ref);
    lua_rawseti(L, -2, i);
    luaL_unref(L, LUA_REGISTRYINDEX, wait->ref);
    free(wait);
  }
}

void channel_shut(channel_t *ch, const char *reason) {
  if (ch->closed) return;
  ch->closed = true;
  lua_State *L = vm_state(ch->vm);
  vm_forget_exit(ch->vm, channel_write_at_exit, ch);
  vm_forget_flush(ch->vm, channel_write_now, ch);
  outbox_clear(&ch->outbox);
  received_close(&ch->received);
  uv_close((uv_handle_t *)&ch->poll, on_handle_closed);
  uv_close((uv_handle_t *)&ch->prepare, on_handle_closed);
  uv_close((uv_handle_t *)&ch->idle, on_handle_closed);
  uv_close((uv_handle_t *)&ch->retry, on_handle_closed);
  close(ch->fd);
  lua_rawgeti(L, LUA_REGISTRYINDEX, ch->on_close);
  drop_refs(ch);
  push_waits(L, ch);
  lua_pushstring(L, reason);
  callback_enter(L, 2);
}

/* As much as an unprivileged process gets by default, or less: all the same. */
static void enlarge_buffer(int fd) {
  int size = SOCKET_BUFFER;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

static int init_handles(channel_t *ch) {
  uv_loop_t *loop = vm_loop(ch->vm);
  int rc = uv_poll_init(loop, &ch->poll, ch->fd);
  if (rc < 0) return rc;
  uv_prepare_init(loop, &ch->prepare);
  uv_idle_init(loop, &ch->idle);
  uv_timer_init(loop, &ch->retry);
  ch->open_handles = HANDLES;
  ch->poll.data = ch->prepare.data = ch->idle.data = ch->retry.data = ch;
  uv_unref((uv_handle_t *)&ch->poll);
  return 0;
}

int channel_open(lua_State *L, int fd, frame_wire_t wire, int on_batch, int on_close) {
  channel_t *ch = calloc(1, sizeof *ch);
  int rc = ch ? 0 : UV_ENOMEM;
  if (ch) {
    ch->vm = vm_of(L);
    ch->callbacks = callback_state(L);
    ch->fd = fd;
    rc = init_handles(ch);
  }
  if (rc < 0) {
    free(ch);
    close(fd);
    luaL_unref(L, LUA_REGISTRYINDEX, on_batch);
    luaL_unref(L, LUA_REGISTRYINDEX, on_close);
    return rc;
  }
  enlarge_buffer(fd);
  ch->wire = wire;
  frame_reader_init(&ch->reader, wire);
  outbox_init(&ch->outbox, wire == FRAME_JSON);
  STAILQ_INIT(&ch->waits);
  ch->on_drained = LUA_NOREF;
  ch->on_batch = on_batch;
  ch->on_close = on_close;
  ch->writable = true;
  ch->box = lua_newuserdata(L, sizeof *ch->box);
  *ch->box = ch;
  luaL_getmetatable(L, CHANNEL_TYPE);
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  ch->self = luaL_ref(L, LUA_REGISTRYINDEX);
  vm_at_exit(ch->vm, channel_write_at_exit, ch);
  vm_at_flush(ch->vm, channel_write_now, ch);
  channel_watch(ch);
  return 0;
}

void channel_close(channel_t *ch) {
  if (ch->closing) return;
  ch->closing = true;
  channel_watch(ch);
  channel_schedule_flush(ch);
}

void channel_keep_alive(channel_t *ch, bool on) {
  ch->refed = on;
  channel_watch(ch);
}

void channel_pause(channel_t *ch, bool on) {
  ch->paused = on;
  channel_watch(ch);
}
