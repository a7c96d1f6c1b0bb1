/* io/output_keeper.c: sees to it that what io/output.c has gathered does not stay there, and is not lost with the process.
 *
 * A thread looks every PERIOD at what a turn of the loop holds back that does not end, and sleeps while there is
 * nothing. It is started by the first process that gathers: an interval timer's signal would cut a program's own sleeps
 * short. Signals whose default ends the process have a handler from then on, which gives the kernel what was accepted
 * and lets the default follow; exec resets it in children. A fork copies no bytes: they are written before. */
#include "io/output_keeper.h"

#include "io/output.h"
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { PERIOD_MS = 5, STACK_SIZE = 64 * 1024 };

static struct {
  bool running, refused, prepared;
  pthread_t main; /* the thread that runs Lua */
  sem_t more;     /* posted when `parked` and there is something */
  atomic_bool parked;
} keeper;

static void *keep(void *argument) {
  unsigned flushes = 0;
  for (;;) {
    atomic_store(&keeper.parked, true);
    if (!output_keep_up(&flushes))
      while (sem_wait(&keeper.more) != 0) continue;
    atomic_store(&keeper.parked, false);
    do {
      struct timespec period = {.tv_nsec = PERIOD_MS * 1000000L};
      nanosleep(&period, NULL);
    } while (output_keep_up(&flushes));
  }
  return argument;
}

void output_keeper_wake(void) {
  if (atomic_load_explicit(&keeper.parked, memory_order_relaxed) && atomic_exchange(&keeper.parked, false))
    sem_post(&keeper.more);
}

/* A signal is the thread's that runs Lua, so that what it interrupts is known. The process dies of the first, also when
 * a SIGALRM of `again` comes between the end of the write and the death. */
static void on_signal(int number) {
  static volatile sig_atomic_t first;
  int saved = errno;
  if (!pthread_equal(pthread_self(), keeper.main)) {
    pthread_kill(keeper.main, number);
    errno = saved;
    return;
  }
  if (first == 0) first = number;
  if (output_last_words(first)) {
    output_die(first);
  } else {
    /* A write that waits is to return now, and if it had not begun yet, in a moment. */
    static const struct itimerval again = {{0, 10000}, {0, 10000}};
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &again, NULL);
  }
  errno = saved;
}

void output_die(int number) {
  struct sigaction action = {.sa_handler = SIG_DFL};
  if (getpid() == 1) _exit(128 + number); /* it has no defaults */
  sigaction(number, &action, NULL);
  raise(number);
}

void output_guard(void) {
  static const int ends[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGILL,  SIGTRAP, SIGABRT, SIGBUS, SIGFPE,
                             SIGUSR1, SIGSEGV, SIGUSR2, SIGALRM, SIGTERM, SIGXCPU, SIGSYS};
  if (!keeper.running || getpid() == 1) return; /* see process/first.c */
  struct sigaction action = {.sa_handler = on_signal}, present;
  sigfillset(&action.sa_mask);
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
    if (sigaction(ends[i], NULL, &present) == 0 && !(present.sa_flags & SA_SIGINFO) &&
        present.sa_handler == SIG_DFL)
      sigaction(ends[i], &action, NULL);
}

bool output_guards(int number) {
  struct sigaction present;
  return sigaction(number, NULL, &present) == 0 && present.sa_handler == on_signal;
}

static void before_fork(void) { output_before_fork(); }
static void after_fork(void) { output_after_fork(false); }
static void after_fork_in_child(void) {
  keeper.running = false;
  output_after_fork(true);
}

static int start(void) {
  pthread_attr_t attributes;
  pthread_t thread;
  sigset_t all, before;
  sem_init(&keeper.more, 0, 0);
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, STACK_SIZE);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's business */
  int rc = pthread_create(&thread, &attributes, keep, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  return rc;
}

bool output_keep(void) {
  if (keeper.running) return true;
  if (keeper.refused) return false;
  keeper.main = pthread_self();
  keeper.running = start() == 0;
  keeper.refused = !keeper.running;
  if (!keeper.prepared) pthread_atfork(before_fork, after_fork, after_fork_in_child);
  keeper.prepared = true;
  output_guard();
  return keeper.running;
}
