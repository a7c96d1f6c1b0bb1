/* terminal/keys.h: what the keys of the prompt do. */
#ifndef LRUN_TERMINAL_KEYS_H
#define LRUN_TERMINAL_KEYS_H

#include <histedit.h>

/* What a key of ours asks for, which libedit cannot do: an event of the handler in Lua, or one of these. */
extern const char TTY_KEY_LINE[];    /* the line is finished */
extern const char TTY_KEY_SUSPEND[]; /* the process is to stop */

/* The first member of what EL_CLIENTDATA points to. */
typedef struct {
  const char *wish; /* of the last key; NULL: none */
} tty_keys_t;

/* Binds the keys; the user's own (~/.editrc) are read on top of them. */
void tty_keys_bind(EditLine *editor);

#endif
