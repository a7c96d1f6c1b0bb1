/* io/output_keeper.h: between io/output.c and what keeps its bytes from staying or getting lost. */
#ifndef LRUN_IO_OUTPUT_KEEPER_H
#define LRUN_IO_OUTPUT_KEEPER_H

#include <stdbool.h>

/* By io/output_keeper.c. Whether there is a keeper; starts one. */
bool output_keep(void);
/* The buffer is no longer empty. */
void output_keeper_wake(void);
/* Ends the process by the signal, as if nobody had caught it. Returns where the signal is blocked: it comes then. */
void output_die(int number);

/* By io/output.c; see there. */
bool output_keep_up(unsigned *flushes);
bool output_last_words(int number);
void output_before_fork(void);
void output_after_fork(bool child);

#endif
