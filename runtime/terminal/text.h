/* terminal/text.h: the wide characters that libedit works with. */
#ifndef LRUN_TERMINAL_TEXT_H
#define LRUN_TERMINAL_TEXT_H

#include <lua.h>
#include <wchar.h>

/* Sees to a locale that knows characters of other scripts. */
void tty_text_init(void);

/* Columns after `text`, which starts in `column`, as libedit shows it. */
int tty_text_advance(int column, const wchar_t *text, const wchar_t *end);

/* The row, counted from 0, in which the character at `end` is on a terminal of `columns`: `text` starts in `column` of
 * row 0, and a newline in it ends its row. */
int tty_text_row(int column, const wchar_t *text, const wchar_t *end, int columns);

/* Pushes a string in UTF-8. */
void tty_text_push(lua_State *L, const wchar_t *text, size_t length);

#endif
