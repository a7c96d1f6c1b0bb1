/* process/launch.c: see process/launch.h.
 *
 * launch → signals are blocked → clone → (in the child) child_main: attributes and descriptors are set →
 * execve, or a report of what failed goes through a pipe that exec closes → (in the parent, which stood still
 * meanwhile) the pipe is read to its end: a report, or nothing, which is success.
 *
 * The pipe, and not the memory that both see, carries the report: where clone is emulated by a fork (valgrind,
 * some sandboxes) nothing is shared. What runs in the child may not allocate, take a lock or call what
 * concerns all threads of this process (setuid of the C library does): so these are bare system calls. */
#include "process/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <paths.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  STACK_SIZE = 32 * 1024,    /* the child's, until it runs the program */
  SIGNALS = 64,              /* the kernel's, counted from 1 */
  SIGSET_SIZE = SIGNALS / 8, /* as the kernel counts it */
  OLD_KERNEL_LOOKS_TO = 64,  /* no gap between open descriptors below this ends the search for more */
  NOT_STARTED = 127          /* what such a child exits with; nobody sees it */
};

/* The sanitizer would mark parts of the borrowed stack and never hear that they are free again. */
#define IN_CHILD __attribute__((no_sanitize("address", "undefined")))

/* 16-bit ids on some machines. */
#ifdef SYS_setuid32
enum { SET_UID = SYS_setuid32, SET_GID = SYS_setgid32, SET_GROUPS = SYS_setgroups32 };
#else
enum { SET_UID = SYS_setuid, SET_GID = SYS_setgid, SET_GROUPS = SYS_setgroups };
#endif

typedef enum {
  STEP_EXEC,
  STEP_CLONE,
  STEP_PIPE,
  STEP_MEMORY,
  STEP_STDIO,
  STEP_SETSID,
  STEP_CHDIR,
  STEP_NICE,
  STEP_LIMIT,
  STEP_IMPLIED_GROUPS,
  STEP_GROUPS,
  STEP_GID,
  STEP_UID,
  STEP_DEATH_SIGNAL
} step_t;

static const struct {
  const char *syscall;
  bool attribute;
} steps[] = {
    [STEP_EXEC] = {"execve", false},     [STEP_CLONE] = {"clone", false},
    [STEP_PIPE] = {"pipe2", false},      [STEP_MEMORY] = {"mmap", false},
    [STEP_STDIO] = {"dup2", false},      [STEP_SETSID] = {"setsid", false},
    [STEP_CHDIR] = {"chdir", false},     [STEP_NICE] = {"setpriority", true},
    [STEP_LIMIT] = {"setrlimit", true},  [STEP_IMPLIED_GROUPS] = {"setgroups", false},
    [STEP_GROUPS] = {"setgroups", true}, [STEP_GID] = {"setgid", false},
    [STEP_UID] = {"setuid", false},      [STEP_DEATH_SIGNAL] = {"prctl", true},
};

/* What comes through the pipe. */
typedef struct {
  int error, step, detail;
} report_t;

typedef struct {
  const launch_plan_t *plan;
  const char *search; /* PATH */
  char *path;         /* room for a directory of it, a slash and the file */
  char **shell;       /* /bin/sh, room for a script's path, its arguments: for a script without #! */
  int *stdio;         /* plan->stdio; the child changes it */
  pid_t parent;
  int report; /* the pipe's end */
} request_t;

/* In the child: descriptors ------------------------------------------------------------------------------- */

IN_CHILD static void fail(const request_t *request, step_t step, int detail) {
  report_t report = {errno, step, detail};
  while (write(request->report, &report, sizeof report) < 0 && errno == EINTR) {}
  _exit(NOT_STARTED);
}

/* Whatever is open here is closed by exec; then the descriptors of the slots are excepted. Files of io.open,
 * what C modules opened and what this process was started with would go to the child, and hold up the end of
 * whatever is on their other side. The table of descriptors is the child's own. */
IN_CHILD static void close_all_on_exec(void) {
  if (syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) == 0) return;
  for (int fd = STDERR_FILENO + 1; fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 || fd < OLD_KERNEL_LOOKS_TO; fd++) {}
}

/* A copy behind all slots, where none overwrites it. */
IN_CHILD static int move_away(const request_t *request, int fd) {
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, request->plan->stdio_count);
  if (copy >= 0) return copy;
  if (errno == EINVAL) errno = EMFILE;
  fail(request, STEP_STDIO, 0);
  return -1;
}

IN_CHILD static void open_null(const request_t *request, int slot) {
  int fd = open(_PATH_DEVNULL, slot == STDIN_FILENO ? O_RDONLY : O_RDWR);
  if (fd < 0) fail(request, STEP_STDIO, 0);
  if (fd == slot) return;
  if (dup2(fd, slot) < 0) fail(request, STEP_STDIO, 0);
  close(fd);
}

/* Programs take it for granted that their standard streams wait. */
IN_CHILD static void make_blocking(int fd) {
  int flags = fcntl(fd, F_GETFL);
  if (flags >= 0 && flags & O_NONBLOCK) fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

IN_CHILD static void fill_slot(const request_t *request, int slot) {
  int fd = request->stdio[slot];
  if (fd < 0) {
    if (slot <= STDERR_FILENO) open_null(request, slot);
    return;
  }
  if ((fd == slot ? fcntl(fd, F_SETFD, 0) : dup2(fd, slot)) < 0) fail(request, STEP_STDIO, 0);
  if (slot <= STDERR_FILENO) make_blocking(slot);
}

/* Slots are filled upwards: what a later one needs and an earlier one would overwrite moves away first. */
IN_CHILD static void set_descriptors(request_t *request) {
  int count = request->plan->stdio_count;
  close_all_on_exec();
  if (request->report < count) request->report = move_away(request, request->report);
  for (int slot = 0; slot < count; slot++) {
    int fd = request->stdio[slot];
    if (fd >= 0 && fd < slot) request->stdio[slot] = move_away(request, fd);
  }
  for (int slot = 0; slot < count; slot++) fill_slot(request, slot);
}

/* In the child: attributes -------------------------------------------------------------------------------- */

/* Also of those that are ignored, which exec would keep. */
IN_CHILD static void reset_signals(void) {
  static const unsigned long long defaults[8]; /* the kernel's struct sigaction, of any machine: all zero */
  for (int number = 1; number <= SIGNALS; number++)
    if (number != SIGKILL && number != SIGSTOP)
      syscall(SYS_rt_sigaction, number, defaults, NULL, (size_t)SIGSET_SIZE);
}

IN_CHILD static bool drops_nothing(const launch_plan_t *plan) {
  if (getgroups(0, NULL) == 0) return true;
  return (!plan->has_uid || (plan->uid == getuid() && plan->uid == geteuid())) &&
         (!plan->has_gid || (plan->gid == getgid() && plan->gid == getegid()));
}

IN_CHILD static void set_groups(const request_t *request) {
  const launch_plan_t *plan = request->plan;
  if (plan->groups_from == LAUNCH_GROUPS_KEPT) return;
  if (syscall(SET_GROUPS, plan->group_count, plan->groups) == 0) return;
  int error = errno;
  bool implied = plan->groups_from == LAUNCH_GROUPS_IMPLIED;
  if (implied && error == EPERM && drops_nothing(plan)) return;
  errno = error;
  fail(request, implied ? STEP_IMPLIED_GROUPS : STEP_GROUPS, 0);
}

/* What takes rights comes before the rights go. */
IN_CHILD static void set_attributes(const request_t *request) {
  const launch_plan_t *plan = request->plan;
  if (plan->cwd && chdir(plan->cwd) < 0) fail(request, STEP_CHDIR, 0);
  if (plan->has_umask) umask(plan->umask);
  if (plan->has_nice && setpriority(PRIO_PROCESS, 0, plan->nice) < 0) fail(request, STEP_NICE, 0);
  for (int i = 0; i < plan->limit_count; i++)
    if (setrlimit(plan->limits[i].resource, &plan->limits[i].limit) < 0) fail(request, STEP_LIMIT, i);
  set_groups(request);
  if (plan->has_gid && syscall(SET_GID, plan->gid) < 0) fail(request, STEP_GID, 0);
  if (plan->has_uid && syscall(SET_UID, plan->uid) < 0) fail(request, STEP_UID, 0);
}

/* After the ids: a change of these clears it. When the parent has died before, the signal is sent here: it
 * arrives as soon as none is blocked any more. */
IN_CHILD static void set_death_signal(const request_t *request) {
  int signal = request->plan->death_signal;
  if (signal == 0) return;
  if (prctl(PR_SET_PDEATHSIG, (unsigned long)signal) < 0) fail(request, STEP_DEATH_SIGNAL, 0);
  if (getppid() != request->parent) kill(getpid(), signal);
}

/* In the child: the program ------------------------------------------------------------------------------- */

/* Returns when it cannot be run; errno says why. */
IN_CHILD static void exec_file(const request_t *request, const char *path) {
  char **env = request->plan->env ? request->plan->env : environ;
  execve(path, request->plan->args, env);
  if (errno != ENOEXEC) return;
  request->shell[1] = (char *)path;
  execve(_PATH_BSHELL, request->shell, env);
}

/* Of what is found and may not be run, and of what is not found, the first is told. */
IN_CHILD static void exec_in_path(const request_t *request) {
  bool denied = false;
  for (const char *at = request->search;;) {
    size_t length = 0, end = 0;
    while (at[length] != '\0' && at[length] != ':') length++;
    memcpy(request->path, at, length);
    if (length > 0) request->path[length] = '/', end = length + 1;
    memcpy(&request->path[end], request->plan->file, strlen(request->plan->file) + 1);
    exec_file(request, request->path);
    if (errno == EACCES) denied = true;
    else if (errno != ENOENT && errno != ENOTDIR && errno != ESTALE && errno != ENODEV && errno != ETIMEDOUT)
      return;
    if (at[length] == '\0') break;
    at += length + 1;
  }
  if (denied) errno = EACCES;
}

IN_CHILD static int child_main(void *data) {
  request_t *request = data;
  static const unsigned long long none_blocked;
  reset_signals();
  if (request->plan->detached && setsid() < 0) fail(request, STEP_SETSID, 0);
  set_descriptors(request);
  set_attributes(request);
  set_death_signal(request);
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none_blocked, NULL, (size_t)SIGSET_SIZE);
  if (strchr(request->plan->file, '/')) exec_file(request, request->plan->file);
  else exec_in_path(request);
  fail(request, STEP_EXEC, 0);
  return NOT_STARTED;
}

/* In the parent ------------------------------------------------------------------------------------------- */

/* The PATH that the child will have. */
static const char *search_path(const launch_plan_t *plan) {
  const char *path = NULL;
  if (!plan->env) path = getenv("PATH");
  for (char **each = plan->env; each && *each && !path; each++)
    if (strncmp(*each, "PATH=", 5) == 0) path = *each + 5;
  return path ? path : _PATH_DEFPATH;
}

static size_t count_args(char **args) {
  size_t count = 0;
  while (args[count]) count++;
  return count;
}

/* One block of memory, in request->shell, for all that the child needs room for. */
static bool make_room(request_t *request) {
  const launch_plan_t *plan = request->plan;
  size_t args = count_args(plan->args), slots = (size_t)plan->stdio_count;
  size_t path = strlen(request->search) + strlen(plan->file) + 2;
  request->shell = malloc((args + 3) * sizeof *request->shell + slots * sizeof *request->stdio + path);
  if (!request->shell) return false;
  request->stdio = (int *)&request->shell[args + 3];
  request->path = (char *)&request->stdio[slots];
  if (slots > 0) memcpy(request->stdio, plan->stdio, slots * sizeof *request->stdio);
  request->shell[0] = (char *)_PATH_BSHELL;
  request->shell[1] = NULL; /* the script's path comes here */
  request->shell[2] = NULL;
  for (size_t i = 1; i < args; i++) request->shell[i + 1] = plan->args[i];
  if (args > 0) request->shell[args + 1] = NULL;
  return true;
}

/* A process whose parent ignored SIGCHLD would never hear what became of its children. */
static void hear_of_children(void) {
  struct sigaction action;
  if (sigaction(SIGCHLD, NULL, &action) < 0) return;
  if (action.sa_handler != SIG_IGN && !(action.sa_flags & SA_NOCLDWAIT)) return;
  if (action.sa_handler == SIG_IGN) action.sa_handler = SIG_DFL;
  action.sa_flags &= ~SA_NOCLDWAIT;
  sigaction(SIGCHLD, &action, NULL);
}

/* With every signal blocked, so that no handler of ours runs in the child on memory that it borrows. */
static pid_t clone_child(request_t *request) {
  _Alignas(16) char stack[STACK_SIZE];
  static const unsigned long long all_blocked = ~0ULL;
  unsigned long long before;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all_blocked, &before, (size_t)SIGSET_SIZE);
  pid_t pid = clone(child_main, &stack[STACK_SIZE], CLONE_VM | CLONE_VFORK | SIGCHLD, request);
  int error = errno;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, (size_t)SIGSET_SIZE);
  errno = error;
  return pid;
}

static pid_t failed(launch_failure_t *failure, int error, step_t step, int detail) {
  *failure = (launch_failure_t){-error, steps[step].syscall, steps[step].attribute,
                                step == STEP_LIMIT ? detail : -1};
  return -1;
}

/* Whether the child has reported; the pipe's end means that it runs the program. */
static bool read_report(int fd, report_t *report) {
  ssize_t n;
  do n = read(fd, report, sizeof *report);
  while (n < 0 && errno == EINTR);
  return n == (ssize_t)sizeof *report;
}

static pid_t start(request_t *request, launch_failure_t *failure) {
  int ends[2];
  report_t report;
  if (pipe2(ends, O_CLOEXEC) < 0) return failed(failure, errno, STEP_PIPE, 0);
  request->report = ends[1];
  pid_t pid = clone_child(request);
  int error = errno;
  close(ends[1]);
  bool reported = pid > 0 && read_report(ends[0], &report);
  close(ends[0]);
  if (pid < 0) return failed(failure, error, STEP_CLONE, 0);
  if (!reported) return pid;
  while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
  return failed(failure, report.error, (step_t)report.step, report.detail);
}

pid_t launch(const launch_plan_t *plan, launch_failure_t *failure) {
  request_t request = {.plan = plan, .search = search_path(plan), .parent = getpid()};
  if (!make_room(&request)) return failed(failure, ENOMEM, STEP_MEMORY, 0);
  hear_of_children();
  pid_t pid = start(&request, failure);
  free(request.shell);
  return pid;
}
