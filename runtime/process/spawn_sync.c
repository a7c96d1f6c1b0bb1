/* process/spawn_sync.c: runs a child to its end on a loop of its own, so that no callback of the script's can run
 * meanwhile.
 *
 * One run_t is one call: plan → plan_launch → input is fed to slot 0, the other pipes are read → the child has
 * exited and every pipe has ended, or the run was ended (timeout, maxBuffer) → result. Nothing of it outlives
 * the call. */
#include "process/spawn.h"

#include "host/errors.h"
#include "process/plan.h"
#include "process/watch.h"
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_SIZE = 64 * 1024 };

struct run;

typedef struct {
  struct run *run;
  uv_pipe_t pipe;   /* closed by slot_close */
  uv_write_t write; /* of the input, slot 0 only */
  uv_shutdown_t shutdown;
  bool piped, open;
  const char *input; /* in the plan */
  size_t input_length;
  char *data; /* what was read */
  size_t length, capacity;
} slot_t;

typedef struct run {
  uv_loop_t loop;
  pid_t pid;
  watch_t watch;    /* closed when it has exited */
  uv_timer_t timer; /* unreferenced: it keeps nothing alive; closed with the run's end */
  slot_t *slots;
  int count;
  double max_buffer; /* bytes of one pipe */
  double timeout;    /* ms, 0: none */
  int kill_signal;
  bool timed, exited;
  int code, signal;
  int error; /* 0 or UV_E* */
} run_t;

static void slot_close(slot_t *slot) {
  if (!slot->open) return;
  slot->open = false;
  uv_close((uv_handle_t *)&slot->pipe, NULL);
}

static void stop_timer(run_t *run) {
  if (!run->timed) return;
  run->timed = false;
  uv_close((uv_handle_t *)&run->timer, NULL);
}

/* Ends a run that may not go on: the pipes are given up, also those that a grandchild still holds. The signal
 * goes first, lest the child ends of the pipes' end. */
static void run_abort(run_t *run, int error) {
  if (run->error == 0) run->error = error;
  if (!run->exited) {
    int rc = watch_kill(&run->watch, run->kill_signal);
    if (rc < 0 && rc != UV_ESRCH) watch_kill(&run->watch, SIGKILL);
  }
  for (int i = 0; i < run->count; i++) slot_close(&run->slots[i]);
  stop_timer(run);
}

static void on_timeout(uv_timer_t *timer) { run_abort(timer->data, UV_ETIMEDOUT); }

static void on_ended(watch_t *watch, int code, int signal) {
  run_t *run = watch->handle.data;
  run->exited = true;
  run->code = code;
  run->signal = signal;
  watch_close(watch, NULL);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  (void)suggested;
  slot_t *slot = handle->data;
  if (slot->capacity - slot->length < READ_SIZE) {
    size_t capacity = slot->capacity * 2 + READ_SIZE;
    char *data = realloc(slot->data, capacity);
    if (!data) {
      *buffer = uv_buf_init(NULL, 0);
      return;
    }
    slot->data = data;
    slot->capacity = capacity;
  }
  *buffer = uv_buf_init(&slot->data[slot->length], READ_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer) {
  (void)buffer;
  slot_t *slot = stream->data;
  run_t *run = slot->run;
  if (n < 0) {
    slot_close(slot);
    if (n != UV_EOF && run->error == 0) run->error = (int)n;
    return;
  }
  slot->length += (size_t)n;
  if ((double)slot->length <= run->max_buffer) return;
  slot->length = (size_t)run->max_buffer;
  run_abort(run, UV_ENOBUFS);
}

static void on_shutdown(uv_shutdown_t *request, int status) {
  (void)status;
  slot_close(request->data);
}

/* A child that does not read all of its input is no error. */
static void on_written(uv_write_t *request, int status) {
  slot_t *slot = request->data;
  if (status < 0 || uv_shutdown(&slot->shutdown, (uv_stream_t *)&slot->pipe, on_shutdown) < 0)
    slot_close(slot);
}

static int slot_start(slot_t *slot, bool feeds) {
  uv_stream_t *stream = (uv_stream_t *)&slot->pipe;
  if (!feeds) return uv_read_start(stream, on_alloc, on_read);
  slot->write.data = slot->shutdown.data = slot;
  uv_buf_t buffer = uv_buf_init((char *)slot->input, (unsigned)slot->input_length);
  if (slot->input_length > 0) return uv_write(&slot->write, stream, &buffer, 1, on_written);
  return uv_shutdown(&slot->shutdown, stream, on_shutdown);
}

/* A pair of sockets for a slot: ours is a handle of the loop, the other is for the child. 0 or UV_E*. */
static int open_slot(run_t *run, slot_t *slot, int *theirs) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) return uv_translate_sys_error(errno);
  *theirs = ends[1];
  uv_pipe_init(&run->loop, &slot->pipe, 0);
  slot->pipe.data = slot;
  slot->piped = slot->open = true;
  int rc = uv_pipe_open(&slot->pipe, ends[0]);
  if (rc < 0) close(ends[0]);
  return rc;
}

/* `theirs` gets the descriptors that are to be closed once the child has them, -1 for none. */
static int open_slots(run_t *run, plan_t *plan, int *theirs) {
  int rc = 0;
  for (int i = 0; i < run->count; i++) {
    run->slots[i].run = run;
    theirs[i] = -1;
    if (rc < 0 || plan->stdio[i] != PLAN_PIPE) continue;
    rc = open_slot(run, &run->slots[i], &theirs[i]);
    plan->stdio[i] = theirs[i];
  }
  return rc;
}

static void read_input(lua_State *L, run_t *run) {
  lua_getfield(L, 1, "input");
  if (run->count > 0) run->slots[0].input = lua_tolstring(L, -1, &run->slots[0].input_length);
  lua_pop(L, 1);
}

/* The pid, or -1 with an error object on top of the stack. */
static pid_t start_child(lua_State *L, run_t *run, plan_t *plan) {
  int *theirs = lua_newuserdata(L, ((size_t)run->count + 1) * sizeof *theirs);
  int rc = open_slots(run, plan, theirs);
  pid_t pid = -1;
  if (rc < 0) errors_push(L, rc, "socketpair");
  else pid = plan_launch(L, plan);
  for (int i = 0; i < run->count; i++)
    if (theirs[i] >= 0) close(theirs[i]);
  return pid;
}

static void start_timer(run_t *run) {
  double timeout = run->timeout;
  if (timeout <= 0) return;
  run->timed = true;
  uv_timer_init(&run->loop, &run->timer);
  run->timer.data = run;
  uv_timer_start(&run->timer, on_timeout, timeout < 1e15 ? (uint64_t)timeout : UINT64_MAX, 0);
  uv_unref((uv_handle_t *)&run->timer);
}

/* False: nothing was started, and an error object is on top of the stack. */
static bool start(lua_State *L, run_t *run, plan_t *plan) {
  run->exited = true; /* there is nothing to kill yet */
  run->pid = start_child(L, run, plan);
  if (run->pid < 0) return run_abort(run, 0), false;
  int rc = watch_start(&run->loop, &run->watch, run->pid, on_ended);
  if (rc < 0) {
    watch_close(&run->watch, NULL);
    run_abort(run, 0);
    return errors_push(L, rc, "pidfd_open"), false;
  }
  run->exited = false;
  start_timer(run);
  for (int i = 0; i < run->count; i++) {
    if (!run->slots[i].open) continue;
    rc = slot_start(&run->slots[i], i == 0);
    if (rc < 0) return run_abort(run, rc), true;
  }
  return true;
}

static double number_field(lua_State *L, const char *name, double otherwise) {
  lua_getfield(L, 1, name);
  double value = luaL_optnumber(L, -1, otherwise);
  lua_pop(L, 1);
  return value;
}

static void push_output(lua_State *L, run_t *run) {
  lua_createtable(L, run->count, 0);
  for (int i = 0; i < run->count; i++) {
    slot_t *slot = &run->slots[i];
    if (slot->piped && i > 0) lua_pushlstring(L, slot->data ? slot->data : "", slot->length);
    else lua_pushboolean(L, 0);
    lua_rawseti(L, -2, i + 1);
    free(slot->data);
  }
}

static void push_result(lua_State *L, run_t *run) {
  lua_createtable(L, 0, 5);
  lua_pushinteger(L, run->pid);
  lua_setfield(L, -2, "pid");
  if (run->error < 0) {
    errors_push(L, run->error, "spawnSync");
    lua_setfield(L, -2, "error");
  }
  lua_pushinteger(L, run->code);
  lua_setfield(L, -2, "status");
  lua_pushinteger(L, run->signal);
  lua_setfield(L, -2, "signal");
  push_output(L, run);
  lua_setfield(L, -2, "output");
}

static run_t *run_new(lua_State *L, const plan_t *plan) {
  run_t *run = lua_newuserdata(L, sizeof *run);
  memset(run, 0, sizeof *run);
  run->count = plan->launch.stdio_count;
  run->slots = lua_newuserdata(L, ((size_t)run->count + 1) * sizeof *run->slots);
  memset(run->slots, 0, ((size_t)run->count + 1) * sizeof *run->slots);
  run->max_buffer = number_field(L, "maxBuffer", 1e300);
  run->timeout = number_field(L, "timeout", 0);
  run->kill_signal = (int)number_field(L, "killSignal", SIGTERM);
  run->watch.handle.data = run;
  run->watch.pidfd = -1;
  read_input(L, run);
  return run;
}

/* sync(plan) → { pid, status, signal, error = an error object or nil, output = { string or false, … } }; nil and
 * the error, as `start` does, when nothing was started. Beside what plan_read reads the plan has input (slot 0, a
 * string), timeout (ms, 0: none), maxBuffer (bytes, nil: none), killSignal (number). */
int spawn_sync(lua_State *L) {
  plan_t plan;
  lua_settop(L, 1);
  if (!plan_read(L, 1, &plan)) return plan_failed(L);
  run_t *run = run_new(L, &plan);
  int rc = uv_loop_init(&run->loop);
  if (rc < 0) return errors_result(L, rc, "epoll_create1");
  bool started = start(L, run, &plan);
  uv_run(&run->loop, UV_RUN_DEFAULT);
  stop_timer(run);
  uv_run(&run->loop, UV_RUN_DEFAULT);
  uv_loop_close(&run->loop);
  if (!started) return plan_failed(L);
  push_result(L, run);
  return 1;
}
