/* process/orphan.c: the module `lrun.core.orphan`: a process that does not notice its parent's end does not outlive it.
 * watch() -> the parent dies -> the kernel's signal -> a timer -> SIGKILL, unless unwatch() came before:
 * whoever reads the channel's end calls that. So only a process whose loop stands still is killed. The kernel
 * forgets the signal when the process changes its user or group: then it is asked for again. Owns one kernel
 * timer, which lasts as long as the process. */
#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "host/credentials.h"
#include "host/modules.h"

enum { GRACE_MS = 800 };

/* A signal has no other way to data. Set before the handler, by watch(). */
static timer_t killer;
static pid_t parent;
static bool prepared, watching;

static int parent_signal(void) { return SIGRTMAX - 1; }

static void set_killer(long ms) {
  struct itimerspec when = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}};
  timer_settime(killer, 0, &when, NULL);
}

/* Anybody may send the signal: it counts when the parent is gone. */
static void on_parent_signal(int number) {
  (void)number;
  int saved = errno;
  if (getppid() != parent) set_killer(GRACE_MS);
  errno = saved;
}

/* Asks for the signal. It does not come when the parent has died before. */
static bool ask(void) {
  if (prctl(PR_SET_PDEATHSIG, parent_signal()) != 0) return false;
  if (getppid() != parent) set_killer(GRACE_MS);
  return true;
}

static void on_credentials(void) {
  if (watching) ask();
}

/* Once. */
static bool prepare(void) {
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
  struct sigaction action = {.sa_handler = on_parent_signal, .sa_flags = SA_RESTART};
  parent = getppid();
  if (timer_create(CLOCK_MONOTONIC, &event, &killer) != 0) return false;
  sigemptyset(&action.sa_mask);
  sigaction(parent_signal(), &action, NULL);
  credentials_on_change(on_credentials);
  return true;
}

/* watch(). Where the kernel refuses, the channel's end alone tells of the parent's. */
static int l_watch(lua_State *L) {
  (void)L;
  if (!prepared) prepared = prepare();
  if (prepared && !watching) watching = ask();
  return 0;
}

/* unwatch(): the parent's end is known, or this process may outlive it. */
static int l_unwatch(lua_State *L) {
  (void)L;
  if (!watching) return 0;
  watching = false;
  prctl(PR_SET_PDEATHSIG, 0);
  set_killer(0);
  return 0;
}

int luaopen_lrun_orphan(lua_State *L) {
  static const luaL_Reg functions[] = {{"watch", l_watch}, {"unwatch", l_unwatch}, {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  return 1;
}
