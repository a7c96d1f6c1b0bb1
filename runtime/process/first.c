/* process/first.c: the module `lrun.core.first`: what a process does about how it was started.
 *
 * SIGINT, SIGQUIT and SIGTERM that whoever started it ignored get their defaults back. As process 1, that of a
 * container, it has two duties more. The kernel gives it no default action of a signal: there a handler ends
 * it. And it becomes the parent of every orphan: SIGCHLD → a moment, in which whoever started the child may
 * wait for it → those that are still there and nobody watches are waited for. */
#include "host/modules.h"
#include "host/vm.h"
#include "io/output_keeper.h"
#include "process/watch.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  REAP_MS = 500,  /* between looks */
  SEEN_MAX = 1024 /* zombies that one look remembers for the next one */
};

/* Process 1 is one. Both handles are unreferenced and last as long as it. */
static struct {
  bool running;
  uv_signal_t signal;
  uv_timer_t timer;
  pid_t seen[SEEN_MAX]; /* by the last look */
  int count;
} reaper;

/* Signals ------------------------------------------------------------------------------------------------- */

static const int ended_by[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};

static void on_end(int number) {
  if (output_last_words(number)) output_die(number);
}

/* Only where nothing else was asked for. */
static void replace(int number, void (*what)(int), void (*by)(int)) {
  struct sigaction action;
  if (sigaction(number, NULL, &action) < 0 || action.sa_handler != what) return;
  action = (struct sigaction){.sa_handler = by};
  sigaction(number, &action, NULL);
}

static void end_by_signals(void) {
  for (size_t i = 0; i < sizeof ended_by / sizeof *ended_by; i++) replace(ended_by[i], SIG_DFL, on_end);
}

/* Orphans ------------------------------------------------------------------------------------------------- */

/* Whether it has ended and is our child. */
static bool is_zombie_of_ours(pid_t pid) {
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  FILE *file = fopen(path, "re");
  if (!file) return false;
  size_t length = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[length] = '\0';
  const char *name_end = strrchr(text, ')');
  char state;
  int parent;
  return name_end && sscanf(name_end, ") %c %d", &state, &parent) == 2 && state == 'Z' && parent == getpid();
}

static bool was_seen(pid_t pid) {
  for (int i = 0; i < reaper.count; i++)
    if (reaper.seen[i] == pid) return true;
  return false;
}

/* Those that were there at the last look, too, are nobody's. */
static void reap(uv_timer_t *timer) {
  pid_t now[SEEN_MAX];
  int count = 0;
  DIR *directory = opendir("/proc");
  if (!directory) return;
  const struct dirent *entry;
  while ((entry = readdir(directory)) && count < SEEN_MAX) {
    pid_t pid = isdigit((unsigned char)entry->d_name[0]) ? (pid_t)strtol(entry->d_name, NULL, 10) : 0;
    if (pid <= 0 || watch_has(pid) || !is_zombie_of_ours(pid)) continue;
    if (was_seen(pid)) waitpid(pid, NULL, WNOHANG);
    else now[count++] = pid;
  }
  closedir(directory);
  memcpy(reaper.seen, now, (size_t)count * sizeof *now);
  reaper.count = count;
  if (count > 0) uv_timer_start(timer, reap, REAP_MS, 0);
}

static void on_sigchld(uv_signal_t *handle, int number) {
  (void)handle, (void)number;
  if (!uv_is_active((uv_handle_t *)&reaper.timer)) uv_timer_start(&reaper.timer, reap, REAP_MS, 0);
}

static void start_reaper(uv_loop_t *loop) {
  if (reaper.running || uv_signal_init(loop, &reaper.signal) < 0) return;
  reaper.running = true;
  uv_timer_init(loop, &reaper.timer);
  uv_unref((uv_handle_t *)&reaper.timer);
  uv_unref((uv_handle_t *)&reaper.signal);
  uv_signal_start(&reaper.signal, on_sigchld, SIGCHLD);
}

/* The module ---------------------------------------------------------------------------------------------- */

/* begin(): at the start of the program. */
static int l_begin(lua_State *L) {
  replace(SIGINT, SIG_IGN, SIG_DFL);
  replace(SIGQUIT, SIG_IGN, SIG_DFL);
  replace(SIGTERM, SIG_IGN, SIG_DFL);
  if (getpid() != 1) return 0;
  end_by_signals();
  start_reaper(vm_loop(vm_of(L)));
  return 0;
}

/* restore(): a signal that was listened to has its default again. */
static int l_restore(lua_State *L) {
  (void)L;
  if (getpid() == 1) end_by_signals();
  return 0;
}

int luaopen_lrun_first(lua_State *L) {
  static const luaL_Reg functions[] = {{"begin", l_begin}, {"restore", l_restore}, {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  return 1;
}
