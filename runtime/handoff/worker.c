/* handoff/worker.c: the worker's end of its lane.
 * A message is looked at -> each of its connections is noted on the page and enters Lua once, with the id of
 * its listener -> Lua opens it as a luv handle, or refuses it, which is noted, too -> those refused go back
 * in one message, which names theirs -> the message is removed. A worker that ends over a message leaves it
 * to the primary, which sees on the page what is still unserved. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "handoff/handoff.h"
#include "host/callback.h"
#include "host/errors.h"
#include "host/userdata.h"
#include "host/vm.h"

enum {
  BATCHES_A_TURN = 4,
  PAUSE_MS = 20 /* between looks whether there are descriptors, or room in the socket, for another batch */
};

static const char WORKER[] = "lrun.handoff.worker";

/* What goes back. */
typedef struct {
  handoff_batch_t batch;
  int fds[HANDOFF_BATCH];
} refused_t;

typedef struct {
  uv_poll_t poll;   /* never closed by us but at the lane's end: the lane lasts as long as the process */
  uv_timer_t pause; /* runs while `paused`; lasts as long, too */
  int fd;
  vm_t *vm;
  stats_t *stats;
  uint64_t max_open; /* connections: the process needs descriptors for other things */
  int callback;      /* registry ref: (listener, fd) */
  bool paused;       /* the lane is not read: what comes waits in it, and in the primary */
  bool delivered;    /* the message that is first in the socket: it is still to be removed */
  bool refuses;      /* Lua's answer about the connection that it was entered with */
  refused_t refused;
} worker_t;

static bool send_refused(worker_t *worker) {
  refused_t *refused = &worker->refused;
  if (refused->batch.count == 0) return true;
  int rc = handoff_send(worker->fd, &refused->batch, refused->fds, (int)refused->batch.count);
  if (rc == UV_EAGAIN || rc == UV_ENOBUFS || rc == UV_ENOMEM || rc == -ETOOMANYREFS) return false;
  while (refused->batch.count > 0) close(refused->fds[--refused->batch.count]);
  return true;
}

/* Exit hook. */
static void at_exit(void *data) { send_refused(data); }

/* Removes the message once what it brought has its place. False: there is no room yet for what goes back. */
static bool end_message(worker_t *worker) {
  if (!send_refused(worker)) return false;
  if (worker->delivered) handoff_consume(worker->fd);
  worker->delivered = false;
  return true;
}

static void refuse(worker_t *worker, uint32_t listener, int fd) {
  refused_t *refused = &worker->refused;
  refused->fds[refused->batch.count] = fd;
  refused->batch.listener[refused->batch.count++] = listener;
}

static void deliver(worker_t *worker, const handoff_batch_t *batch, const int *fds) {
  stats_t *stats = worker->stats;
  stats->refused = 0;
  worker->refused.batch.first = batch->first;
  for (uint32_t i = 0; i < batch->count; i++) {
    worker->refuses = false;
    stats->handed = batch->first + i + 1;
    stats->opened++;
    lua_State *co = callback_begin(vm_state(worker->vm));
    lua_rawgeti(co, LUA_REGISTRYINDEX, worker->callback);
    lua_pushinteger(co, (lua_Integer)batch->listener[i]);
    lua_pushinteger(co, fds[i]);
    callback_run(co, 2);
    if (worker->refuses) {
      stats->opened--;
      stats->refused |= (uint64_t)1 << i;
      refuse(worker, batch->listener[i], fds[i]);
    }
  }
}

static void end(worker_t *worker) {
  uv_poll_stop(&worker->poll);
  close(worker->fd);
  worker->fd = -1;
}

static bool has_room(const worker_t *worker) {
  const stats_t *stats = worker->stats;
  return stats->opened < stats->closed + worker->max_open;
}

static void on_readable(uv_poll_t *poll, int status, int events);

static void resume(worker_t *worker) {
  if (!worker->paused || !end_message(worker)) return;
  worker->paused = false;
  uv_timer_stop(&worker->pause);
  if (worker->fd >= 0) uv_poll_start(&worker->poll, UV_READABLE, on_readable);
}

static void on_pause(uv_timer_t *timer) {
  worker_t *worker = (worker_t *)((char *)timer - offsetof(worker_t, pause));
  if (has_room(worker)) resume(worker);
}

static void pause_reading(worker_t *worker) {
  worker->paused = true;
  uv_poll_stop(&worker->poll);
  uv_timer_start(&worker->pause, on_pause, PAUSE_MS, PAUSE_MS);
}

static uint64_t max_open(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return UINT64_MAX / 2;
  uint64_t spare = limit.rlim_cur > 512 ? 128 : limit.rlim_cur / 4;
  return limit.rlim_cur > spare + HANDOFF_BATCH ? limit.rlim_cur - spare - HANDOFF_BATCH : 1;
}

static bool share_page(worker_t *worker, int fd) {
  int rc = stats_share(vm_state(worker->vm), fd);
  close(fd);
  if (rc == 0) worker->stats->handed = 0;
  return rc == 0;
}

/* Takes the next message. False: there is none for now, or no more is to be read. */
static bool take_batch(worker_t *worker) {
  handoff_batch_t batch;
  int fds[HANDOFF_BATCH];
  int rc = handoff_peek(worker->fd, &batch, fds);
  bool good = rc > 0 && (batch.count > 0 || share_page(worker, fds[0]));
  bool passing = rc == UV_EMFILE || rc == UV_ENOMEM || rc == UV_ENOBUFS;
  if (rc < 0 && !passing) end(worker);
  else if (rc != 0 && !good)
    pause_reading(worker); /* the message stays until there is room for what it brings */
  if (!good) return false;
  deliver(worker, &batch, fds);
  worker->delivered = true;
  if (end_message(worker)) return true;
  pause_reading(worker);
  return false;
}

static void on_readable(uv_poll_t *poll, int status, int events) {
  worker_t *worker = (worker_t *)poll;
  (void)status;
  (void)events;
  for (int i = 0; i < BATCHES_A_TURN && worker->fd >= 0; i++) {
    if (!has_room(worker)) {
      pause_reading(worker);
      return;
    }
    if (!take_batch(worker) || worker->stats->sent <= worker->stats->handed)
      return; /* what it does not tell of yet wakes us again */
  }
}

/* worker(fd, callback) → the worker's end of the lane, which does not keep the process alive until ref() says
 * so. */
static int l_worker(lua_State *L) {
  int fd = luaL_checkint(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  worker_t *worker = lua_newuserdata(L, sizeof *worker);
  memset(worker, 0, sizeof *worker);
  worker->fd = fd;
  worker->max_open = max_open();
  worker->vm = vm_of(L);
  worker->stats = stats_of(L);
  if (!worker->stats) return errors_result(L, UV_ENOMEM, "mmap");
  if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) return errors_result(L, uv_translate_sys_error(errno), "fcntl");
  int rc = uv_poll_init(vm_loop(worker->vm), &worker->poll, fd);
  if (rc < 0) return errors_result(L, rc, "poll");
  luaL_getmetatable(L, WORKER);
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  luaL_ref(L, LUA_REGISTRYINDEX); /* the loop holds its poll handle */
  lua_pushvalue(L, 2);
  worker->callback = luaL_ref(L, LUA_REGISTRYINDEX);
  uv_timer_init(vm_loop(worker->vm), &worker->pause);
  uv_unref((uv_handle_t *)&worker->pause);
  uv_poll_start(&worker->poll, UV_READABLE, on_readable);
  uv_unref((uv_handle_t *)&worker->poll);
  vm_at_exit(worker->vm, at_exit, worker);
  stats_watch(L, vm_loop(worker->vm));
  return 1;
}

static worker_t *worker_check(lua_State *L) { return luaL_checkudata(L, 1, WORKER); }

/* worker:refuse(): the connection that Lua was entered with has no server here. It goes back. */
static int l_refuse(lua_State *L) {
  worker_check(L)->refuses = true;
  return 0;
}

static int l_ref(lua_State *L) {
  uv_ref((uv_handle_t *)&worker_check(L)->poll);
  return 0;
}

static int l_unref(lua_State *L) {
  uv_unref((uv_handle_t *)&worker_check(L)->poll);
  return 0;
}

/* worker:opened(): a connection came to a server another way. */
static int l_opened(lua_State *L) {
  worker_check(L)->stats->opened++;
  return 0;
}

/* worker:released(): one connection of a server has closed. */
static int l_released(lua_State *L) {
  worker_t *worker = worker_check(L);
  worker->stats->closed++;
  if (worker->paused && has_room(worker)) resume(worker);
  return 0;
}

void handoff_worker_register(lua_State *L) {
  static const luaL_Reg methods[] = {{"refuse", l_refuse}, {"ref", l_ref},           {"unref", l_unref},
                                     {"opened", l_opened}, {"released", l_released}, {NULL, NULL}};
  userdata_class(L, WORKER, methods);
  lua_pushcfunction(L, l_worker);
  lua_setfield(L, -2, "worker");
}
