/* main.c: the command line → lualib/lrun/host/boot.lua on the main coroutine → the loop → the end. */
#include "host/bundle.h"
#include "host/vm.h"
#include "probe/probe.h"

#include <fcntl.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>
#ifdef LRUN_SANITIZE
#include <sanitizer/lsan_interface.h>
#endif

/* The last of what exit() calls: it ends the process before libuv's destructor, which would wait for the threads
 * of its pool, and one of these may wait for ever (the opening of a named pipe). */
static void end_at_once(int code, void *data) {
  (void)data;
  fflush(NULL);
#ifdef LRUN_SANITIZE
  __lsan_do_leak_check();
#endif
  _exit(code);
}

/* 0 to 2 always are the standard streams: one that came closed is /dev/null, not whatever is opened next. */
static void open_standard_streams(void) {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) return;
}

/* With fewer libuv aborts where it opens its first pipe; with more it says what it lacks. */
enum { MIN_DESCRIPTORS = 8 };

/* The soft limit is there for programs that use select(2). A server needs what the hard one allows; where
 * even that cannot be had the soft one stays. False when there are too few to try. */
static bool raise_descriptor_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return true;
  if (limit.rlim_cur == limit.rlim_max) return limit.rlim_cur >= MIN_DESCRIPTORS;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur >= MIN_DESCRIPTORS;
}

/* SIGINT, SIGQUIT and SIGTERM end a program, also where whoever started it ignored them, as a shell does for the
 * background jobs of a script. SIGHUP stays ignored, for nohup. */
static void reset_signals(void) {
  static const int signals[] = {SIGINT, SIGQUIT, SIGTERM};
  struct sigaction action;
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    if (sigaction(signals[i], NULL, &action) == 0 && action.sa_handler == SIG_IGN)
      signal(signals[i], SIG_DFL);
}

/* Pushes the command line as a table; [0] is what lrun was called. */
static void push_arguments(lua_State *L, int argc, char **argv) {
  lua_createtable(L, argc, 1);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i);
  }
}

int main(int argc, char **argv) {
  on_exit(end_at_once, NULL); /* the first to be registered is the last to be called */
  open_standard_streams();
  reset_signals();
  argv = uv_setup_args(argc, argv);
  vm_t *vm;
  int rc = raise_descriptor_limit() ? vm_new(&vm) : UV_EMFILE;
  if (rc < 0) {
    fprintf(stderr, "lrun: cannot start: %s (%s)\n", uv_strerror(rc), uv_err_name(rc));
    return 1;
  }
  probe_open(vm);
  lua_State *L = vm_state(vm);
  bundle_require(L, "lrun.host.boot");
  push_arguments(L, argc, argv);
  vm_run(vm, 1);
  return 0;
}
