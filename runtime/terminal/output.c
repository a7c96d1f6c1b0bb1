/* terminal/output.c: owns the pseudo-terminal that stands in for descriptors 1 and 2 while the prompt is in use,
 * and the thread that carries what is written there to the terminal.
 *
 * Whoever prints (Lua, C, a child that inherited the descriptors) → pseudo-terminal → relay thread → erase
 * the prompt if one is shown → terminal → the loop is told to draw the prompt again below. A thread, because
 * the one that runs Lua may print more than the pseudo-terminal holds before it looks at the loop again; a
 * pseudo-terminal and not a pipe, because programs ask whether they write to a terminal.
 *
 * The lock guards the terminal: the editor holds it while it draws, the thread while it writes. A write that
 * fails is no news: the terminal is gone, which the loop sees when it reads. */
#include "terminal/output.h"

#include "io/output.h"
#include "io/write_all.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* Written by drain, swallowed by the thread: all before it is on the screen. */
static const char SYNC[] = "\033]lrun;sync\a";
enum { SYNC_LENGTH = sizeof SYNC - 1, DRAIN_SECONDS = 2, READ_SIZE = 16384 };

struct tty_output {
  int terminal;    /* where the real terminal is now */
  int saved_error; /* descriptor 2 as it was; -1 when it was left alone */
  int master;      /* the thread reads it */
  int slave;       /* kept open so that the thread sees no end while nobody prints */
  tty_output_erased on_erased;
  void *data;
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t changed; /* `syncs`, `stopped` */
  unsigned syncs;         /* markers seen */
  bool shown;             /* a prompt is on the screen */
  bool erased;            /* it was, until output came */
  bool inside_line;       /* the last output did not end with a newline */
  bool stopped;           /* close wants the thread to end */
  int row;                /* of the cursor, from the prompt's first row */
};

void tty_output_lock(tty_output_t *output) { pthread_mutex_lock(&output->mutex); }
void tty_output_unlock(tty_output_t *output) { pthread_mutex_unlock(&output->mutex); }
int tty_output_terminal(const tty_output_t *output) { return output->terminal; }

void tty_output_shown(tty_output_t *output, int row) {
  output->shown = true;
  output->erased = false;
  output->row = row;
}

void tty_output_hidden(tty_output_t *output) {
  output->shown = output->erased = false;
  output->inside_line = false;
}

bool tty_output_take_erased(tty_output_t *output) {
  if (output->inside_line && !output->shown) {
    write_all(output->terminal, "\r\n", 2);
    output->inside_line = false;
  }
  bool erased = output->erased;
  output->erased = false;
  return erased;
}

void tty_output_erase(tty_output_t *output) {
  char escape[32] = "\r\033[J";
  if (output->row > 0) snprintf(escape, sizeof escape, "\r\033[%dA\033[J", output->row);
  write_all(output->terminal, escape, strlen(escape));
  output->shown = false;
  output->erased = true;
}

/* Takes the markers out of `bytes`; `matched` bytes of one may have come before. Returns the new length in
 * `kept`, which has room for a marker more than was read. */
static size_t take_syncs(const char *bytes, size_t length, size_t *matched, unsigned *syncs, char *kept) {
  size_t at = 0;
  for (size_t i = 0; i < length; i++) {
    if (bytes[i] != SYNC[*matched] && *matched > 0) { /* it was none: the escape occurs in it only once */
      memcpy(kept + at, SYNC, *matched);
      at += *matched;
      *matched = 0;
    }
    if (bytes[i] != SYNC[*matched]) {
      kept[at++] = bytes[i];
    } else if (++*matched == SYNC_LENGTH) {
      *matched = 0;
      (*syncs)++;
    }
  }
  return at;
}

/* Shows what was read; true when the prompt had to go for it. */
static bool show(tty_output_t *output, const char *bytes, size_t length, unsigned syncs) {
  bool erased = false;
  pthread_mutex_lock(&output->mutex);
  if (length > 0) {
    if (output->shown) {
      tty_output_erase(output);
      erased = true;
    }
    write_all(output->terminal, bytes, length);
    output->inside_line = bytes[length - 1] != '\n';
  }
  if (syncs > 0) {
    output->syncs += syncs;
    pthread_cond_broadcast(&output->changed);
  }
  pthread_mutex_unlock(&output->mutex);
  return erased;
}

static void *relay(void *argument) {
  tty_output_t *output = argument;
  char bytes[READ_SIZE], kept[READ_SIZE + SYNC_LENGTH];
  size_t matched = 0;
  for (;;) {
    ssize_t n = read(output->master, bytes, sizeof bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return NULL; /* EIO: closed by the last who could write */
    unsigned syncs = 0;
    size_t length = take_syncs(bytes, (size_t)n, &matched, &syncs, kept);
    if (show(output, kept, length, syncs)) output->on_erased(output->data);
    pthread_mutex_lock(&output->mutex);
    bool stopped = output->stopped;
    pthread_mutex_unlock(&output->mutex);
    if (stopped && syncs > 0) return NULL;
  }
}

void tty_output_resize(tty_output_t *output) {
  struct winsize size;
  if (ioctl(output->terminal, TIOCGWINSZ, &size) == 0) ioctl(output->slave, TIOCSWINSZ, &size);
}

/* A pseudo-terminal that changes no byte: the real one does what its modes say. */
static int open_pair(tty_output_t *output) {
  char name[64];
  output->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (output->master < 0) return -errno;
  if (grantpt(output->master) < 0 || unlockpt(output->master) < 0) return -errno;
  if (ptsname_r(output->master, name, sizeof name) != 0) return -errno;
  output->slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (output->slave < 0) return -errno;
  struct termios modes;
  if (tcgetattr(output->slave, &modes) < 0) return -errno;
  cfmakeraw(&modes);
  if (tcsetattr(output->slave, TCSANOW, &modes) < 0) return -errno;
  return 0;
}

static void release(tty_output_t *output) {
  if (output->slave >= 0) close(output->slave);
  if (output->master >= 0) close(output->master);
  if (output->saved_error >= 0) close(output->saved_error);
  if (output->terminal >= 0) close(output->terminal);
  free(output);
}

static int start_thread(tty_output_t *output) {
  sigset_t all, old;
  pthread_mutex_init(&output->mutex, NULL);
  pthread_cond_init(&output->changed, NULL);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the main thread's business */
  int rc = pthread_create(&output->thread, NULL, relay, output);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return -rc;
}

int tty_output_open(tty_output_erased on_erased, void *data, tty_output_t **out) {
  tty_output_t *output = calloc(1, sizeof *output);
  if (!output) return -ENOMEM;
  *output = (tty_output_t){
      .terminal = -1, .saved_error = -1, .master = -1, .slave = -1, .on_erased = on_erased, .data = data};
  output_flush();
  output->terminal = fcntl(1, F_DUPFD_CLOEXEC, 10);
  int rc = output->terminal < 0 ? -errno : open_pair(output);
  if (rc == 0) rc = start_thread(output);
  if (rc < 0) {
    release(output);
    return rc;
  }
  tty_output_resize(output);
  dup2(output->slave, 1);
  if (isatty(2)) {
    output->saved_error = fcntl(2, F_DUPFD_CLOEXEC, 10);
    dup2(output->slave, 2);
  }
  *out = output;
  return 0;
}

void tty_output_drain(tty_output_t *output) {
  struct timespec until;
  output_flush();
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += DRAIN_SECONDS;
  pthread_mutex_lock(&output->mutex);
  unsigned wanted = output->syncs + 1;
  pthread_mutex_unlock(&output->mutex);
  write_all(output->slave, SYNC, SYNC_LENGTH);
  pthread_mutex_lock(&output->mutex);
  while ((int)(output->syncs - wanted) < 0)
    if (pthread_cond_timedwait(&output->changed, &output->mutex, &until) == ETIMEDOUT) break;
  pthread_mutex_unlock(&output->mutex);
}

void tty_output_close(tty_output_t *output) {
  output_flush();
  dup2(output->terminal, 1);
  if (output->saved_error >= 0) dup2(output->saved_error, 2);
  pthread_mutex_lock(&output->mutex);
  output->stopped = true;
  pthread_mutex_unlock(&output->mutex);
  write_all(output->slave, SYNC, SYNC_LENGTH);
  pthread_join(output->thread, NULL);
  pthread_mutex_destroy(&output->mutex);
  pthread_cond_destroy(&output->changed);
  release(output);
}
