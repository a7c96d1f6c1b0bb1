/* terminal/end.c: gives the terminal back at ends that know nothing of the prompt. Exit handlers and signal
 * handlers have only static state. Who listens for one of the signals in Lua replaces the handler here. */
#include "terminal/end.h"

#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

static struct {
  void (*close)(void *data);
  void *data;
  struct termios modes;
} state;

static void on_exit_unaware(void) { state.close(state.data); }

static void on_deadly(int number) {
  tcsetattr(STDIN_FILENO, TCSANOW, &state.modes);
  raise(number); /* the default action is back: SA_RESETHAND */
}

void tty_end_watch(void (*close)(void *data), void *data) {
  static const int deadly[] = {SIGTERM, SIGHUP, SIGQUIT};
  struct sigaction action = {.sa_handler = on_deadly, .sa_flags = (int)SA_RESETHAND | SA_NODEFER};
  state.close = close;
  state.data = data;
  tcgetattr(STDIN_FILENO, &state.modes);
  atexit(on_exit_unaware);
  for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++) {
    struct sigaction before;
    sigaction(deadly[i], NULL, &before);
    if (before.sa_handler != SIG_IGN) sigaction(deadly[i], &action, NULL); /* nohup */
  }
}
