/* terminal/output.h: everything that this process and its children print while a prompt is on the screen. */
#ifndef LRUN_TERMINAL_OUTPUT_H
#define LRUN_TERMINAL_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct tty_output tty_output_t;

/* Called from another thread when the prompt was erased to make room for output. */
typedef void (*tty_output_erased)(void *data);

/* Puts a pseudo-terminal in the place of descriptors 1 and 2 (2 only if it is a terminal). 0 or a negative
 * code. */
int tty_output_open(tty_output_erased on_erased, void *data, tty_output_t **out);

/* The terminal itself; write to it between lock and unlock only. */
int tty_output_terminal(const tty_output_t *output);

void tty_output_lock(tty_output_t *output);
void tty_output_unlock(tty_output_t *output);

/* With the lock held: a prompt is on the screen, and the cursor is `row` rows below the prompt's first. */
void tty_output_shown(tty_output_t *output, int row);
/* With the lock held: there is none any more. */
void tty_output_hidden(tty_output_t *output);
/* With the lock held: erases the prompt that is shown. */
void tty_output_erase(tty_output_t *output);
/* With the lock held: the prompt is to be on the screen but was erased. Forgets it, and starts a new line
 * where output ended inside one. */
bool tty_output_take_erased(tty_output_t *output);

/* Waits until all that was written to the descriptors so far is on the screen. Not with the lock held. */
void tty_output_drain(tty_output_t *output);

/* Tells the pseudo-terminal the terminal's size. */
void tty_output_resize(tty_output_t *output);

/* Gives the descriptors back and shows what is left. */
void tty_output_close(tty_output_t *output);

#endif
