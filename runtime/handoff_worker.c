/* handoff_worker.c: the worker's end of its lane.
 * A batch arrives -> each descriptor enters Lua once, with the id of its listener -> Lua opens it as a luv
 * handle, or refuses it -> one report a batch. A batch that the process does not survive is reported as far
 * as it got, so that no connection is served twice; the rest goes to another worker. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "callback.h"
#include "errors.h"
#include "handoff.h"
#include "vm.h"

enum {
  BATCHES_A_TURN = 4,
  PAUSE_MS = 20 /* between looks whether there are descriptors for another batch */
};

static const char WORKER[] = "lrun.handoff.worker";

typedef struct {
  uv_poll_t poll;   /* never closed by us but at the lane's end: the lane lasts as long as the process */
  uv_timer_t pause; /* runs while `full`; lasts as long, too */
  int fd;
  vm_t *vm;
  stats_t *stats;
  uint64_t max_open; /* connections: the process needs descriptors for other things */
  int callback;      /* registry ref: (listener, fd) */
  bool full;         /* the lane is not read: what comes waits in the primary */
  bool refused;      /* Lua's answer about the connection that it was entered with */
  bool delivering;   /* inside deliver: `report` is about the part that is done */
  handoff_report_t report;
} worker_t;

static void send_report(worker_t *worker) {
  if (worker->report.count == 0) return;
  ssize_t n;
  do n = send(worker->fd, &worker->report, sizeof worker->report, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (n < 0 && errno == EINTR); /* EAGAIN cannot be: fewer reports than batches are on their way */
}

/* Exit hook: the process ends inside a batch. The connection that it ended in is done with, too. */
static void on_exit_inside(void *data) {
  worker_t *worker = data;
  if (!worker->delivering) return;
  worker->report.count++;
  send_report(worker);
}

static void deliver(worker_t *worker, const handoff_batch_t *batch, const int *fds) {
  worker->report = (handoff_report_t){0};
  worker->delivering = true;
  for (uint32_t i = 0; i < batch->count; i++) {
    worker->refused = false;
    worker->stats->opened++;
    lua_State *co = callback_begin(vm_state(worker->vm));
    lua_rawgeti(co, LUA_REGISTRYINDEX, worker->callback);
    lua_pushinteger(co, (lua_Integer)batch->listener[i]);
    lua_pushinteger(co, fds[i]);
    callback_run(co, 2);
    if (worker->refused) {
      worker->stats->opened--;
      worker->report.refused |= (uint64_t)1 << i;
      close(fds[i]);
    }
    worker->report.count++;
  }
  worker->delivering = false;
  send_report(worker);
}

static void end(worker_t *worker) {
  uv_poll_stop(&worker->poll);
  close(worker->fd);
  worker->fd = -1;
}

static int fds_of(struct msghdr *message, int *fds) {
  int count = 0;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    int n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(fds + count, CMSG_DATA(c), (size_t)n * sizeof(int));
    count += n;
  }
  return count;
}

/* 1 a batch, 0 none for now, -1 the end. */
static int receive(worker_t *worker, handoff_batch_t *batch, int *fds, int *count) {
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(HANDOFF_BATCH * sizeof(int))];
  } control;
  struct iovec iov = {batch, sizeof *batch};
  struct msghdr message = {
      .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t n;
  do n = recvmsg(worker->fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  if (n < 0) return errno == EAGAIN ? 0 : -1;
  if (n == 0) return -1;
  *count = fds_of(&message, fds);
  return 1;
}

/* The kernel passes on only as many descriptors as the process may open. What is missing, others will serve.
 */
static void refuse_missing(worker_t *worker, const handoff_batch_t *batch, int *fds, int count) {
  for (int i = 0; i < count; i++) close(fds[i]);
  worker->report = (handoff_report_t){.count = batch->count, .refused = ~(uint64_t)0};
  send_report(worker);
}

static bool has_room(const worker_t *worker) {
  const stats_t *stats = worker->stats;
  return stats->opened < stats->closed + worker->max_open;
}

static void on_readable(uv_poll_t *poll, int status, int events);

static void resume(worker_t *worker) {
  if (!worker->full) return;
  worker->full = false;
  uv_timer_stop(&worker->pause);
  if (worker->fd >= 0) uv_poll_start(&worker->poll, UV_READABLE, on_readable);
}

static void on_pause(uv_timer_t *timer) {
  worker_t *worker = (worker_t *)((char *)timer - offsetof(worker_t, pause));
  if (has_room(worker)) resume(worker);
}

static void pause_reading(worker_t *worker) {
  worker->full = true;
  uv_poll_stop(&worker->poll);
  uv_timer_start(&worker->pause, on_pause, PAUSE_MS, PAUSE_MS);
}

static uint64_t max_open(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return UINT64_MAX / 2;
  uint64_t spare = limit.rlim_cur > 512 ? 128 : limit.rlim_cur / 4;
  return limit.rlim_cur > spare + HANDOFF_BATCH ? limit.rlim_cur - spare - HANDOFF_BATCH : 1;
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
    handoff_batch_t batch;
    int fds[HANDOFF_BATCH], count = 0;
    int got = receive(worker, &batch, fds, &count);
    if (got < 0) end(worker);
    if (got <= 0) return;
    if (batch.count == 0 && count == 1) {
      stats_share(vm_state(worker->vm), fds[0]);
      close(fds[0]);
    } else if ((uint32_t)count != batch.count) {
      refuse_missing(worker, &batch, fds, count);
      pause_reading(worker);
      return;
    } else {
      deliver(worker, &batch, fds);
    }
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
  vm_at_exit(worker->vm, on_exit_inside, worker);
  stats_watch(L, vm_loop(worker->vm));
  return 1;
}

static worker_t *worker_check(lua_State *L) { return luaL_checkudata(L, 1, WORKER); }

/* worker:refuse(): the connection that Lua was entered with has no server here. C closes the descriptor. */
static int l_refuse(lua_State *L) {
  worker_check(L)->refused = true;
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
  if (worker->full && has_room(worker)) resume(worker);
  return 0;
}

void handoff_worker_register(lua_State *L) {
  static const luaL_Reg methods[] = {{"refuse", l_refuse}, {"ref", l_ref},           {"unref", l_unref},
                                     {"opened", l_opened}, {"released", l_released}, {NULL, NULL}};
  luaL_newmetatable(L, WORKER);
  luaL_register(L, NULL, methods);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_pushcfunction(L, l_worker);
  lua_setfield(L, -2, "worker");
}
