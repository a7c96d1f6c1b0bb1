/* terminal/input.h: what was typed at the prompt and nobody has taken yet. */
#ifndef LRUN_TERMINAL_INPUT_H
#define LRUN_TERMINAL_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <wchar.h>

enum {
  TTY_INPUT_SIZE = 65536, /* a paste; what is more waits in the kernel */
  TTY_SEQUENCE_WAIT = 30  /* ms for the rest of an escape sequence, or of a character */
};

typedef struct {
  size_t start, end; /* bytes[start, end) */
  char bytes[TTY_INPUT_SIZE];
} tty_input_t;

bool tty_input_waits(const tty_input_t *input);

/* Reads standard input, as read(2) does; 1 where there is no room. */
ssize_t tty_input_read(tty_input_t *input);

/* Waits up to `ms` for more than there is, and reads it; false when nothing came. */
bool tty_input_more(tty_input_t *input, int ms);

void tty_input_drop(tty_input_t *input);

/* Puts text before what waits. False: there is no room. */
bool tty_input_insert(tty_input_t *input, const char *text, size_t length);

/* The next character; a byte that is no UTF-8 becomes U+FFFD. Waits for it up to `ms`, for ever with -1.
 * False when there is none. */
bool tty_input_next(tty_input_t *input, int ms, wchar_t *out);

#endif
