/* terminal/paste.h: what is pasted at the prompt, between the marks that a terminal puts around it. */
#ifndef LRUN_TERMINAL_PASTE_H
#define LRUN_TERMINAL_PASTE_H

#include "terminal/input.h"

/* Written to the terminal: from now on it marks what is pasted; no longer. */
#define TTY_PASTE_ON  "\033[?2004h"
#define TTY_PASTE_OFF "\033[?2004l"

enum { TTY_PASTE_LIMIT = 1 << 20 }; /* bytes that are kept of one paste */

typedef struct {
  bool open;    /* its end has not come */
  bool too_big; /* some of it was dropped */
  char *bytes;
  size_t length, size;
} tty_paste_t;

/* Takes what the input has of a paste. False: there is none, the input is typed. True: taken; all of it when
 * `open` is false, then `bytes` and `length` are the text, until tty_paste_free. */
bool tty_paste_take(tty_paste_t *paste, tty_input_t *input);

/* Takes the newlines off its end and puts a zero there; whether there were any. */
bool tty_paste_trim(tty_paste_t *paste);

void tty_paste_free(tty_paste_t *paste);

#endif
