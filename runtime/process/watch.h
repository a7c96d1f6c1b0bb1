/* process/watch.h: waits on a loop for the end of one child, and no other: by a pidfd, or by SIGCHLD where the kernel
 * has none. */
#ifndef LRUN_PROCESS_WATCH_H
#define LRUN_PROCESS_WATCH_H

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <uv.h>

typedef struct watch watch_t;

/* How it ended: an exit code, or the signal that ended it. Called once; the watch may be closed in it. */
typedef void (*watch_ended_t)(watch_t *watch, int code, int signal);

/* A child whose status somebody else took is told to have exited with this. */
enum { WATCH_LOST = 255 };

/* The owner's, all zero but for handle.data; `handle` is the loop's until watch_close's callback. */
struct watch {
  union {
    uv_handle_t handle;
    uv_poll_t poll;     /* of the pidfd */
    uv_signal_t signal; /* without one */
  };
  pid_t pid;
  int pidfd; /* -1: none */
  watch_ended_t ended;
  LIST_ENTRY(watch) link; /* of those that this process waits for, from watch_start to watch_close */
};

/* Takes over the duty to wait for a child. 0 or UV_E*; then the child is ended and gone, and the watch is still to be
 * closed. */
int watch_start(uv_loop_t *loop, watch_t *watch, pid_t pid, watch_ended_t ended);

/* Whether somebody waits for that child. */
bool watch_has(pid_t pid);

/* Sends a signal while the child is there: 0 or UV_E*. */
int watch_kill(const watch_t *watch, int signal);

/* `closed` may be NULL. Where nothing was ever watched it is called at once. */
void watch_close(watch_t *watch, uv_close_cb closed);

#endif
