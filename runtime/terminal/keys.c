/* terminal/keys.c: binds the prompt's keys. What libedit has no command for is noted as a wish, which the editor
 * carries out when libedit has returned. Sequences that keys send and nobody bound mean nothing: their letters
 * would be typed. */
#include "terminal/keys.h"

#include <stdio.h>
#include <wchar.h>

const char TTY_KEY_LINE[] = "line", TTY_KEY_SUSPEND[] = "suspend";

static unsigned char wish(EditLine *editor, const char *what) {
  tty_keys_t *keys;
  el_get(editor, EL_CLIENTDATA, (void **)&keys);
  keys->wish = what;
  return CC_NORM;
}

static unsigned char on_enter(EditLine *editor, int key) { return (void)key, wish(editor, TTY_KEY_LINE); }
static unsigned char on_search(EditLine *editor, int key) { return (void)key, wish(editor, "search"); }
static unsigned char on_cancel(EditLine *editor, int key) { return (void)key, wish(editor, "interrupt"); }
static unsigned char on_stop(EditLine *editor, int key) { return (void)key, wish(editor, TTY_KEY_SUSPEND); }
static unsigned char on_nothing(EditLine *editor, int key) { return (void)editor, (void)key, CC_NORM; }

/* At the start of a line a tab indents. */
static unsigned char on_tab(EditLine *editor, int key) {
  (void)key;
  const LineInfoW *line = el_wline(editor);
  for (const wchar_t *at = line->cursor; at > line->buffer && at[-1] != L'\n'; at--)
    if (at[-1] != L' ') return wish(editor, "complete");
  return el_insertstr(editor, "  ") == 0 ? CC_REFRESH : CC_ERROR;
}

static const wchar_t *start_of_row(const LineInfoW *line, const wchar_t *at) {
  while (at > line->buffer && at[-1] != L'\n') at--;
  return at;
}

static const wchar_t *end_of_row(const LineInfoW *line, const wchar_t *at) {
  while (at < line->lastchar && *at != L'\n') at++;
  return at;
}

/* Moves to the same column of the row that begins at `row`. */
static unsigned char move_to(EditLine *editor, const LineInfoW *line, const wchar_t *row) {
  long column = line->cursor - start_of_row(line, line->cursor);
  long length = end_of_row(line, row) - row;
  el_cursor(editor, (int)(row - line->cursor + (column < length ? column : length)));
  return CC_CURSOR;
}

/* In an input of several rows the arrows move between these; else to an older or newer input. */
static unsigned char on_up(EditLine *editor, int key) {
  (void)key;
  const LineInfoW *line = el_wline(editor);
  const wchar_t *start = start_of_row(line, line->cursor);
  if (start == line->buffer) return wish(editor, "older");
  return move_to(editor, line, start_of_row(line, start - 1));
}

static unsigned char on_down(EditLine *editor, int key) {
  (void)key;
  const LineInfoW *line = el_wline(editor);
  const wchar_t *end = end_of_row(line, line->cursor);
  if (end == line->lastchar) return wish(editor, "newer");
  return move_to(editor, line, end + 1);
}

static unsigned char on_home(EditLine *editor, int key) {
  (void)key;
  const LineInfoW *line = el_wline(editor);
  el_cursor(editor, (int)(start_of_row(line, line->cursor) - line->cursor));
  return CC_CURSOR;
}

static unsigned char on_end(EditLine *editor, int key) {
  (void)key;
  const LineInfoW *line = el_wline(editor);
  el_cursor(editor, (int)(end_of_row(line, line->cursor) - line->cursor));
  return CC_CURSOR;
}

static unsigned char on_older(EditLine *editor, int key) { return (void)key, wish(editor, "older"); }
static unsigned char on_newer(EditLine *editor, int key) { return (void)key, wish(editor, "newer"); }

static void bind_key(EditLine *editor, const char *key, const char *command) {
  el_set(editor, EL_BIND, key, command, NULL);
}

static void bind_own(EditLine *editor, const char *name, unsigned char (*run)(EditLine *, int),
                     const char *const *keys) {
  el_set(editor, EL_ADDFN, name, name, run);
  for (; *keys; keys++) bind_key(editor, *keys, name);
}

/* `ESC [ number ~` and `ESC [ 1 ; modifier letter`, and what old terminals send for F1 to F4. */
static void bind_nothing(EditLine *editor) {
  static const char *const keys[] = {"\033OP", "\033OQ", "\033OR", "\033OS",
                                     "\033[Z", "\033[I", "\033[O", NULL};
  char key[16];
  bind_own(editor, "lrun-nothing", on_nothing, keys);
  for (int number = 1; number <= 34; number++) {
    snprintf(key, sizeof key, "\033[%d~", number);
    bind_key(editor, key, "lrun-nothing");
    for (int modifier = 2; modifier <= 8; modifier++) {
      snprintf(key, sizeof key, "\033[%d;%d~", number, modifier);
      bind_key(editor, key, "lrun-nothing");
    }
  }
  for (const char *letter = "ABCDEFHPQRS"; *letter; letter++)
    for (int modifier = 2; modifier <= 8; modifier++) {
      snprintf(key, sizeof key, "\033[1;%d%c", modifier, *letter);
      bind_key(editor, key, "lrun-nothing");
    }
}

static void bind_moves(EditLine *editor) {
  static const char *const keys[][2] = {
      {"[1;5C", "em-next-word"},        {"[1;5D", "ed-prev-word"},    {"[1;3C", "em-next-word"},
      {"[1;3D", "ed-prev-word"},        {"^W", "ed-delete-prev-word"}, {"[3~", "ed-delete-next-char"},
      {"[3;5~", "em-delete-next-word"},
  };
  static const char *const home[] = {"[H", "OH", "[1~", "[7~", "^A", NULL};
  static const char *const end[] = {"[F", "OF", "[4~", "[8~", "^E", NULL};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) bind_key(editor, keys[i][0], keys[i][1]);
  bind_own(editor, "lrun-home", on_home, home);
  bind_own(editor, "lrun-end", on_end, end);
}

void tty_keys_bind(EditLine *editor) {
  static const char *const enter[] = {"^M", "^J", NULL}, *const tab[] = {"^I", NULL},
                           *const search[] = {"^R", NULL};
  static const char *const cancel[] = {"^C", NULL}, *const stop[] = {"^Z", NULL};
  static const char *const up[] = {"\033[A", "\033OA", NULL}, *const down[] = {"\033[B", "\033OB", NULL};
  static const char *const older[] = {"^P", NULL}, *const newer[] = {"^N", NULL};
  el_set(editor, EL_EDITOR, "emacs");
  bind_nothing(editor);
  bind_moves(editor);
  bind_own(editor, "lrun-enter", on_enter, enter);
  bind_own(editor, "lrun-complete", on_tab, tab);
  bind_own(editor, "lrun-search", on_search, search);
  bind_own(editor, "lrun-up", on_up, up);
  bind_own(editor, "lrun-down", on_down, down);
  bind_own(editor, "lrun-older", on_older, older);
  bind_own(editor, "lrun-newer", on_newer, newer);
  /* At the prompt these are keys, not signals: children are none of their business. */
  el_set(editor, EL_SETTY, "-d", "-isig", NULL);
  bind_own(editor, "lrun-cancel", on_cancel, cancel);
  bind_own(editor, "lrun-stop", on_stop, stop);
  bind_key(editor, "\033x", "ed-unassigned"); /* libedit's own commands would hold the loop */
  bind_key(editor, "\033X", "ed-unassigned");
  el_source(editor, NULL);
  /* vi's maps come without it; libedit's own would take a newline at the input's end for the key. */
  bind_key(editor, "^M", "lrun-enter");
  bind_key(editor, "^J", "lrun-enter");
  el_set(editor, EL_BIND, "-a", "^M", "lrun-enter", NULL);
  el_set(editor, EL_BIND, "-a", "^J", "lrun-enter", NULL);
}
