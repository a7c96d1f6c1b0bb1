/* io/output.h: the one owner of what the process writes to its standard output. Descriptor 1 is the process's and not a
 * VM's, and so is this. */
#ifndef LRUN_IO_OUTPUT_H
#define LRUN_IO_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

/* Makes C's `stdout` and `stderr` streams of ours; before LuaJIT opens its libraries, which keep them. */
void output_open(void);

/* Whatever is written from now on is given to `copy`, too; NULL: to nobody. */
void output_copy(void (*copy)(const char *bytes, size_t length));

/* Accepts bytes. They are with the kernel at once, or at the next output_flush, which comes by itself: when the buffer
 * is full, before the loop waits, some milliseconds later, at the end of the process. Never fails: see
 * output_failure. Only for the thread that runs Lua, as all but output_flush. */
void output_write(const char *bytes, size_t length);

/* Gives the kernel all that was accepted, and waits for it. 0, or UV_E*: then what it would not take is gone. */
int output_flush(void);

/* A turn of the loop is over: flushes. False: nothing was written in it. */
bool output_turn(void);

/* `begin` is called at the first write of a turn. */
void output_each_turn(void (*begin)(void));

/* The first failure that nobody was told of, or 0. Taking it tells. Once a reader that is gone (UV_EPIPE) was told of,
 * whatever is written is dropped. */
int output_failure(void);
int output_take_failure(void);

/* `length` bytes were written for a reader that is gone, and who wrote them could not be told but by a result. Ends the
 * process when that goes on and on. */
void output_ignored(size_t length);

/* How much is gathered: everything, lines, nothing; as setvbuf(3) has it. At first lines on a terminal, else everything.
 */
typedef enum { OUTPUT_FULL, OUTPUT_LINE, OUTPUT_NONE } output_gather_t;
void output_gather(output_gather_t gather);

/* Signals that would end the process give the kernel first what was accepted; again after somebody else used their
 * dispositions. Nothing happens to a signal that is not at its default. */
void output_guard(void);
bool output_guards(int number);

/* By io/output_module.c. From now on every turn of the VM's loop flushes before the loop waits, and failures are told to
 * HOOK_OUTPUT. */
struct vm;
void output_attach(struct vm *vm);
/* The same, now: where no turn follows. */
void output_report(struct vm *vm);

#endif
