/* process/watch.c: see process/watch.h. pidfd or SIGCHLD → waitpid for this child alone → `ended`. */
#include "process/watch.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Children are the process's, whatever loop waits for them; all loops are of one thread. */
static LIST_HEAD(, watch) watches = LIST_HEAD_INITIALIZER(watches);

bool watch_has(pid_t pid) {
  const watch_t *watch;
  LIST_FOREACH(watch, &watches, link)
  if (watch->pid == pid) return true;
  return false;
}

static int wait_for(pid_t pid, int *status, int flags) {
  pid_t rc;
  do rc = waitpid(pid, status, flags);
  while (rc < 0 && errno == EINTR);
  return rc;
}

static void look(watch_t *watch) {
  int status = 0;
  pid_t rc = wait_for(watch->pid, &status, WNOHANG);
  if (rc == 0) return;
  if (watch->pidfd >= 0) uv_poll_stop(&watch->poll);
  else uv_signal_stop(&watch->signal);
  if (rc < 0) watch->ended(watch, WATCH_LOST, 0); /* ECHILD */
  else if (WIFSIGNALED(status)) watch->ended(watch, 0, WTERMSIG(status));
  else watch->ended(watch, WEXITSTATUS(status), 0);
}

static void on_pidfd(uv_poll_t *poll, int status, int events) {
  (void)status, (void)events;
  look((watch_t *)poll);
}

static void on_sigchld(uv_signal_t *handle, int number) {
  (void)number;
  look((watch_t *)handle);
}

static bool watch_by_pidfd(uv_loop_t *loop, watch_t *watch) {
  watch->pidfd = (int)syscall(SYS_pidfd_open, watch->pid, 0);
  if (watch->pidfd < 0) return false;
  if (uv_poll_init(loop, &watch->poll, watch->pidfd) == 0) {
    uv_poll_start(&watch->poll, UV_READABLE, on_pidfd);
    return true;
  }
  close(watch->pidfd);
  watch->pidfd = -1;
  return false;
}

/* The child may have ended before: a signal of our own has us look. */
static int watch_by_signal(uv_loop_t *loop, watch_t *watch) {
  int rc = uv_signal_init(loop, &watch->signal);
  if (rc == 0) rc = uv_signal_start(&watch->signal, on_sigchld, SIGCHLD);
  if (rc < 0) return rc;
  kill(getpid(), SIGCHLD);
  return 0;
}

int watch_start(uv_loop_t *loop, watch_t *watch, pid_t pid, watch_ended_t ended) {
  watch->pid = pid;
  watch->ended = ended;
  LIST_INSERT_HEAD(&watches, watch, link);
  if (watch_by_pidfd(loop, watch)) return 0;
  int rc = watch_by_signal(loop, watch);
  if (rc == 0) return 0;
  kill(pid, SIGKILL);
  wait_for(pid, NULL, 0);
  return rc;
}

int watch_kill(const watch_t *watch, int signal) {
  if (watch->pid == 0) return UV_ESRCH;
  return kill(watch->pid, signal) == 0 ? 0 : uv_translate_sys_error(errno);
}

void watch_close(watch_t *watch, uv_close_cb closed) {
  int pidfd = watch->pidfd;
  if (watch->pid > 0) LIST_REMOVE(watch, link);
  watch->pid = 0;
  watch->pidfd = -1;
  if (watch->handle.type != UV_UNKNOWN_HANDLE) uv_close(&watch->handle, closed);
  else if (closed) closed(&watch->handle); /* may free the watch */
  if (pidfd >= 0) close(pidfd);
}
