/* process/launch.h: starts a program in a child process. Pure C: no loop, no Lua.
 *
 * The child borrows this process's memory until it runs the program (clone with CLONE_VM and CLONE_VFORK), so
 * its start costs the same however much memory that is. */
#ifndef LRUN_PROCESS_LAUNCH_H
#define LRUN_PROCESS_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

typedef struct {
  int resource; /* RLIMIT_… */
  struct rlimit limit;
} launch_limit_t;

typedef enum {
  LAUNCH_GROUPS_KEPT,    /* the child keeps this process's supplementary groups */
  LAUNCH_GROUPS_GIVEN,   /* it gets `groups`, or does not start */
  LAUNCH_GROUPS_IMPLIED, /* likewise, but where the system refuses and nothing would be dropped it keeps them */
} launch_groups_t;

typedef struct {
  const char *file; /* looked up in the child's PATH unless it has a slash */
  char **args;      /* argv, ended by NULL */
  char **env;       /* "NAME=value", ended by NULL; NULL: this process's */
  const char *cwd;  /* NULL: this process's */
  const int
      *stdio; /* for each descriptor of the child from 0 on: which of ours it is; negative: none, that is
                       /dev/null for the first three. It gets no other. */
  int stdio_count;
  bool detached; /* leads a session of its own */
  bool has_uid, has_gid, has_umask, has_nice;
  uid_t uid;
  gid_t gid;
  launch_groups_t groups_from;
  const gid_t *groups;
  size_t group_count;
  mode_t umask;
  int nice; /* the value itself, not what to add */
  const launch_limit_t *limits;
  int limit_count;
  int death_signal; /* what it gets when this thread ends; 0: none */
} launch_plan_t;

/* Why nothing was started. */
typedef struct {
  int code;            /* negative errno */
  const char *syscall; /* which refused */
  bool attribute;      /* it refused groups, nice, a limit or the death signal */
  int limit;           /* the index of the refused limit, or -1 */
} launch_failure_t;

/* The child's pid once it runs the program, or -1 and why it does not. Signals of the child: none blocked,
 * each with its default. Whoever gets a pid waits for it. */
pid_t launch(const launch_plan_t *plan, launch_failure_t *failure);

#endif
