/* probe/request.c: SIGUSR1, and the module `lrun.core.probe`.
 *
 * The signal → a report in the user's folder, written by the handler: that the process heard, and where it is, for a reader
 * that may never get another answer → the loop is woken, where lrun/probe/server.lua opens a socket. Lua code that is
 * interpreted tells by a hook where it stands, at its next instruction.
 *
 * A process that may not be looked into hears, too, and says so: a signal that nobody takes would end it. */
#include "probe/probe.h"

#include "host/bundle.h"
#include "host/callback.h"
#include "host/modules.h"
#include "host/vm.h"
#include "probe/frames.h"
#include "probe/guard.h"
#include "probe/report.h"

#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

static struct {
  lua_State *L;
  uv_async_t wake; /* never closed; keeps nothing alive */
  volatile sig_atomic_t forbidden;
  struct { /* the program's own hook meanwhile */
    lua_Hook call;
    int mask, count;
  } before;
  report_t report; /* of the handler, which is not interrupted by itself */
  report_t of_hook;
} probe;

/* The report ------------------------------------------------------------------------------------------------------- */

static void report_hooked(lua_State *L) {
  report_t *report = &probe.of_hook;
  report_begin(report);
  report_text(report, "state lua\n");
  lua_Debug frame;
  for (int level = 0; level < 200 && lua_getstack(L, level, &frame); level++) {
    if (!lua_getinfo(L, "Sl", &frame) || frame.what[0] == 'C') continue;
    frames_line(report, frame.currentline > 0 ? (uint64_t)frame.currentline : 0,
                frame.linedefined > 0 ? (uint64_t)frame.linedefined : 0, frame.source, strlen(frame.source));
  }
  report_text(report, "end\n");
  report_save(report);
}

static void on_instruction(lua_State *L, lua_Debug *activation) {
  (void)activation;
  lua_sethook(L, probe.before.call, probe.before.mask, probe.before.count);
  report_hooked(L);
  probe_guard_look(L);
}

/* May be called by a handler, as lua_sethook may. */
static void ask_by_hook(void) {
  if (lua_gethook(probe.L) == on_instruction) return;
  probe.before.call = lua_gethook(probe.L);
  probe.before.mask = lua_gethookmask(probe.L);
  probe.before.count = lua_gethookcount(probe.L);
  lua_sethook(probe.L, on_instruction, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

static const char *const states[] = {
    [FRAMES_INTERPRETER] = "interpreter", [FRAMES_C] = "c",         [FRAMES_COLLECTOR] = "collector",
    [FRAMES_COMPILER] = "compiler",       [FRAMES_TRACE] = "trace", [FRAMES_UNKNOWN] = "unknown"};

static void report_now(void) {
  report_t *report = &probe.report;
  report_begin(report);
  if (probe.forbidden) {
    report_text(report, "state forbidden\nend\n");
    report_save(report);
    return;
  }
  frames_state_t state = frames_state();
  report_text(report, "state ");
  report_text(report, states[state]);
  report_text(report, "\n");
  if (state != FRAMES_INTERPRETER && state != FRAMES_UNKNOWN) frames_report(report, state);
  report_text(report, "end\n");
  report_save(report);
  if (state == FRAMES_INTERPRETER || state == FRAMES_COMPILER) ask_by_hook();
}

static void on_signal(int number) {
  int saved = errno;
  pid_t main_thread = getpid();
  if (syscall(SYS_gettid) != main_thread) {
    syscall(SYS_tgkill, main_thread, main_thread, number);
  } else {
    report_now();
    if (!probe.forbidden) uv_async_send(&probe.wake);
  }
  errno = saved;
}

/* The socket --------------------------------------------------------------------------------------------------------- */

static int open_server(lua_State *L) {
  bundle_require(L, "lrun.probe.server");
  lua_getfield(L, -1, "open");
  lua_call(L, 0, 0);
  return 0;
}

static void on_wake(uv_async_t *handle) {
  (void)handle;
  lua_pushcfunction(probe.L, open_server);
  callback_enter(probe.L, 0);
}

static void install(void) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  sigaction(SIGUSR1, &action, NULL);
}

void probe_open(vm_t *vm) {
  probe.L = vm_state(vm);
  const char *setting = getenv("LRUN_INSPECT");
  probe.forbidden = setting && strcmp(setting, "0") == 0;
  report_keep_environment();
  frames_prepare(probe.L);
  probe.wake.data = NULL;
  if (uv_async_init(vm_loop(vm), &probe.wake, on_wake) < 0) return;
  uv_unref((uv_handle_t *)&probe.wake);
  install();
}

/* The module ---------------------------------------------------------------------------------------------------------- */

/* forbid(): nobody may look into this process. */
static int l_forbid(lua_State *L) {
  (void)L;
  probe.forbidden = 1;
  return 0;
}

/* restore(): SIGUSR1 is the probe's again, after the program has listened to it. */
static int l_restore(lua_State *L) {
  (void)L;
  install();
  return 0;
}

/* folder() → where socket and report are; nil where there is no folder that is this user's alone */
static int l_folder(lua_State *L) {
  lua_pushstring(L, report_folder());
  return 1;
}

int luaopen_lrun_probe(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"forbid", l_forbid},         {"restore", l_restore}, {"folder", l_folder},     {"size", probe_l_size},
      {"guarded", probe_l_guarded}, {"tee", probe_l_tee},   {"waits", probe_l_waits}, {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  return 1;
}
