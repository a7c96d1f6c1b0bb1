/* io/output.c: owns the bytes that were written to standard output and that the kernel does not have yet.
 *
 * In: `print`, `io.write`, `io.stdout`, C's `stdout`, `process.stdout` → output_write → the buffer, or, for the first of
 * a turn, the kernel. Out: output_flush → write(2), which waits where the descriptor does not. io/output_stdio.c makes
 * C's streams of it, io/output_keeper.c sees to it that nothing stays here for long or is lost with the process, and
 * io/output_lua.c is its Lua.
 *
 * A lock, because the keeper's thread flushes, too, when a turn is long. It is not held for long but by who waits for a
 * slow reader, so who waits for it naps. `stage` is for signal handlers, which may interrupt at any point: see
 * output_last_words. */
#include "io/output.h"

#include "io/output_keeper.h"
#include "io/write_all.h"
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

enum {
  BUFFER_SIZE = 64 * 1024,
  DIRECT = 16,             /* writes that a process makes before a thread is worth it */
  SAFE_WRITE = 4096,       /* what a pipe that is said to be writable takes without waiting: PIPE_BUF */
  LAST_MS = 2000,          /* how long a process that a signal ends waits for its reader */
  IGNORED_LIMIT = 16 << 20 /* bytes for a reader that is gone */
};

/* Who holds the lock, and what the thread that runs Lua does with it. */
enum { NOBODY, MAIN, KEEPER };
enum { OUTSIDE, APPENDING, WRITING };

static struct {
  atomic_int owner;
  volatile sig_atomic_t stage;
  volatile sig_atomic_t ending; /* a signal came in stage WRITING and waits for its end */
  char *bytes;                  /* BUFFER_SIZE, or NULL before the first is gathered */
  volatile size_t length;       /* of what is in it; changed after the bytes are there */
  volatile size_t start;        /* of what the kernel does not have */
  unsigned flushes;
  unsigned direct; /* writes that went to the kernel at once */
  bool turn;       /* something was written in this turn */
  bool asked;      /* `gather` is what the descriptor asks for, or the program */
  bool dropping;   /* the reader is gone, and that was told */
  int failure;     /* UV_E*, not told yet */
  size_t ignored;  /* see output_ignored */
  output_gather_t gather;
  void (*copy)(const char *bytes, size_t length); /* or NULL */
  void (*begin)(void);                            /* see output_each_turn; or NULL */
} output;

static void nap(long microseconds) {
  struct timespec time = {.tv_nsec = microseconds * 1000};
  nanosleep(&time, NULL);
}

static bool try_lock(int who) {
  int nobody = NOBODY;
  return atomic_compare_exchange_strong_explicit(&output.owner, &nobody, who, memory_order_acquire,
                                                 memory_order_relaxed);
}
static void lock(int who) {
  while (!try_lock(who)) nap(50);
}
static void unlock(void) { atomic_store_explicit(&output.owner, NOBODY, memory_order_release); }

static bool wait_writable(int ms) {
  struct pollfd waiting = {.fd = STDOUT_FILENO, .events = POLLOUT};
  return poll(&waiting, 1, ms) > 0;
}

/* Writes without ever waiting for longer than LAST_MS: for a process that ends. */
static void write_last(const char *bytes, size_t length) {
  for (int naps = 0; length > 0 && naps < LAST_MS / 10;) {
    if (!wait_writable(10)) {
      naps++;
      continue;
    }
    ssize_t n = write(STDOUT_FILENO, bytes, length < SAFE_WRITE ? length : SAFE_WRITE);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return;
    if (n < 0) naps++;
    if (n > 0) bytes += n, length -= (size_t)n;
  }
}

/* 0 or UV_E*. `*done` is how much the kernel has, also while this runs. */
static int write_out(const char *bytes, size_t length, volatile size_t *done) {
  while (*done < length) {
    if (output.ending) {
      write_last(bytes + *done, length - *done);
      output_die(output.ending);
    }
    ssize_t n = write(STDOUT_FILENO, bytes + *done, length - *done);
    if (n >= 0) *done += (size_t)n;
    else if (errno == EAGAIN || errno == EWOULDBLOCK) wait_writable(-1);
    else if (errno != EINTR) return uv_translate_sys_error(errno);
  }
  return 0;
}

static void note(int rc) {
  if (rc < 0 && output.failure == 0 && !output.dropping) output.failure = rc;
}

/* With the lock. */
static int drain(void) {
  if (output.length == 0) return 0;
  output.flushes++;
  int rc = output.dropping ? 0 : write_out(output.bytes, output.length, &output.start);
  output.length = 0;
  output.start = 0;
  note(rc);
  return rc;
}

static void set_stage(int stage) {
  atomic_signal_fence(memory_order_seq_cst);
  output.stage = stage;
  atomic_signal_fence(memory_order_seq_cst);
}

static void enter(int stage) {
  lock(MAIN);
  set_stage(stage);
}

static void leave(void) {
  if (output.ending) {
    if (!output.dropping) write_last(output.bytes + output.start, output.length - output.start);
    output_die(output.ending);
  }
  set_stage(OUTSIDE);
  unlock();
}

int output_flush(void) {
  if (output.length == 0) return 0;
  enter(WRITING);
  int rc = drain();
  leave();
  return rc;
}

bool output_turn(void) {
  bool written = output.turn;
  output.turn = false;
  output_flush();
  return written;
}

void output_each_turn(void (*begin)(void)) {
  output.begin = begin;
  if (output.turn) begin();
}

/* Writes what does not fit or need not wait; with the lock and an empty buffer. */
static void write_through(const char *bytes, size_t length) {
  volatile size_t done = 0;
  output.direct += output.direct < DIRECT;
  if (!output.dropping) note(write_out(bytes, length, &done));
}

static void ask(void) {
  output.asked = true;
  output.gather = isatty(STDOUT_FILENO) ? OUTPUT_LINE : OUTPUT_FULL;
}

void output_gather(output_gather_t gather) {
  output.asked = true;
  output.gather = gather;
  output_flush();
}

/* From the second write of a turn on, where there is a keeper. */
static bool can_gather(void) {
  if (output.gather == OUTPUT_NONE || !output.turn || output.direct < DIRECT) return false;
  if (!output.bytes) output.bytes = malloc(BUFFER_SIZE);
  return output.bytes && output_keep();
}

static void write_now(const char *bytes, size_t length) {
  enter(WRITING);
  drain();
  write_through(bytes, length);
  leave();
}

void output_copy(void (*copy)(const char *bytes, size_t length)) { output.copy = copy; }

void output_write(const char *bytes, size_t length) {
  if (output.copy) output.copy(bytes, length);
  if (!output.asked) ask();
  bool gathered = can_gather() && length < BUFFER_SIZE;
  if (!output.turn && output.begin) output.begin();
  output.turn = true;
  if (!gathered) {
    write_now(bytes, length);
    return;
  }
  enter(APPENDING);
  if (output.length + length > BUFFER_SIZE) {
    set_stage(WRITING);
    drain();
    set_stage(APPENDING);
  }
  bool first = output.length == 0;
  memcpy(output.bytes + output.length, bytes, length);
  atomic_signal_fence(memory_order_release);
  output.length += length;
  leave();
  if (output.gather == OUTPUT_LINE && memchr(bytes, '\n', length)) output_flush();
  else if (first) output_keeper_wake();
}

int output_failure(void) { return output.failure; }

void output_ignored(size_t length) {
  static const char message[] = "lrun: write EPIPE: nobody reads the standard output any more\n";
  output.ignored += length + 1;
  if (output.ignored < IGNORED_LIMIT) return;
  write_all(STDERR_FILENO, message, sizeof message - 1);
  _exit(EXIT_FAILURE);
}

int output_take_failure(void) {
  int failure = output.failure;
  output.failure = 0;
  output.ignored = 0;
  if (failure == UV_EPIPE) output.dropping = true;
  return failure;
}

/* For the keeper, on its own thread: what was there before `*flushes` changed goes to the kernel. False: there is nothing.
 */
bool output_keep_up(unsigned *flushes) {
  lock(KEEPER);
  bool any = output.length > 0;
  if (any && *flushes == output.flushes) drain();
  *flushes = output.flushes;
  unlock();
  return any;
}

/* For a signal handler on the thread that runs Lua; false: output_die is called later, by what was interrupted.
 * Outside of WRITING the bytes up to `length` are whole. */
bool output_last_words(int number) {
  bool ours = atomic_load(&output.owner) == MAIN;
  if (ours && output.stage == WRITING) {
    if (output.ending == 0) output.ending = number;
    return false;
  }
  for (int naps = 0; !ours && naps < LAST_MS; naps++) {
    ours = try_lock(MAIN);
    if (!ours) nap(1000);
  }
  if (ours && !output.dropping) write_last(output.bytes + output.start, output.length - output.start);
  return true;
}

/* The keeper's thread is not in the child. */
void output_before_fork(void) {
  output_flush();
  lock(MAIN);
}

void output_after_fork(bool child) {
  if (child) output.direct = 0;
  unlock();
}
