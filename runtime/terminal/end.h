/* terminal/end.h: the terminal at ends that know nothing of the prompt: exit(3) and signals. */
#ifndef LRUN_TERMINAL_END_H
#define LRUN_TERMINAL_END_H

/* Notes the modes that the terminal has now. exit(3) calls close(data), which may have been called before; a
 * signal that ends the process first puts the modes back. Once a process. */
void tty_end_watch(void (*close)(void *data), void *data);

#endif
