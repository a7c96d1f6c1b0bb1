/* terminal/input.c: see terminal/input.h. */
#include "terminal/input.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

bool tty_input_waits(const tty_input_t *input) { return input->start < input->end; }

ssize_t tty_input_read(tty_input_t *input) {
  if (input->start > 0) {
    memmove(input->bytes, input->bytes + input->start, input->end - input->start);
    input->end -= input->start;
    input->start = 0;
  }
  if (input->end == TTY_INPUT_SIZE) return 1;
  ssize_t n;
  do n = read(STDIN_FILENO, input->bytes + input->end, TTY_INPUT_SIZE - input->end);
  while (n < 0 && errno == EINTR);
  if (n > 0) input->end += (size_t)n;
  return n;
}

void tty_input_drop(tty_input_t *input) { input->start = input->end = 0; }

bool tty_input_insert(tty_input_t *input, const char *text, size_t length) {
  size_t rest = input->end - input->start;
  if (length + rest > TTY_INPUT_SIZE) return false;
  memmove(input->bytes + length, input->bytes + input->start, rest);
  memcpy(input->bytes, text, length);
  input->start = 0;
  input->end = length + rest;
  return true;
}

bool tty_input_more(tty_input_t *input, int ms) {
  struct pollfd ready = {.fd = STDIN_FILENO, .events = POLLIN};
  return poll(&ready, 1, ms) > 0 && tty_input_read(input) > 0;
}

bool tty_input_next(tty_input_t *input, int ms, wchar_t *out) {
  while (tty_input_waits(input) || tty_input_more(input, ms)) {
    mbstate_t mb = {0};
    size_t n = mbrtowc(out, input->bytes + input->start, input->end - input->start, &mb);
    if (n == (size_t)-2 && tty_input_more(input, TTY_SEQUENCE_WAIT)) continue;
    if (n == (size_t)-1 || n == (size_t)-2) {
      *out = 0xFFFD;
      n = 1;
    }
    input->start += n > 0 ? n : 1;
    return true;
  }
  return false;
}
