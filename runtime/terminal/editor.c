/* terminal/editor.c: owns the line editor (libedit) on the event loop.
 *
 * In: terminal → uv_poll → tty_input → el_wgets, one command at a time → a line, an end, a wish to
 * complete → the handler in Lua (repl.lua's terminal console). libedit reads the terminal through next_char
 * only, so it waits for nothing but the rest of an escape sequence. Out: libedit and we write to the terminal
 * under tty_output's lock; all other output passes through tty_output, which erases the line being typed and
 * asks, through `wake`, to have it drawn again.
 *
 * From `prompt` on the terminal is in raw mode and its input is ours, until `release`, before a chunk runs:
 * then it is as it was, and its input belongs to whoever reads it. From line to line the mode stays: a key
 * that comes in between is not for the kernel. One terminal, so one editor: the handle lives until the
 * process ends. */
#include "host/callback.h"
#include "host/errors.h"
#include "host/modules.h"
#include "host/vm.h"
#include "io/write_all.h"
#include "terminal/end.h"
#include "terminal/input.h"
#include "terminal/interrupt.h"
#include "terminal/keys.h"
#include "terminal/output.h"
#include "terminal/paste.h"
#include "terminal/text.h"
#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <lauxlib.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
  PROMPT_SIZE = 256,
  HISTORY_SIZE = 100000, /* the Lua side keeps less */
  END_OF_FILE = 4,
  CONTROL_X = 24
};

typedef struct {
  tty_keys_t keys; /* first: terminal/keys.h */
  vm_t *vm;
  EditLine *editor;
  History *history;
  tty_output_t *output;
  FILE *in, *out;
  /* Three handles that last as long as the process, unless `open` fails: then give_up closes them. */
  uv_poll_t poll;  /* active while a line is edited */
  uv_async_t wake; /* the prompt was erased, SIGINT came, or input is left over */
  uv_signal_t resized;
  int open_handles;  /* that are being closed */
  int handler;       /* registry ref of the Lua function */
  bool editing;      /* a prompt waits for its line */
  wchar_t first;     /* character of the command that libedit reads; 0 before it */
  bool searching;    /* keys go to the handler, not to libedit */
  bool feeding;      /* feed is on the stack */
  bool closed;       /* close_tty was here */
  bool ended;        /* the terminal is gone */
  bool marks_pastes; /* it was asked to */
  wchar_t prompt[PROMPT_SIZE];
  int prompt_width;
  tty_paste_t paste;
  tty_input_t input;
} tty_t;

static const char tty_key = 't'; /* registry key of the only instance */

/* --- Input --- */

/* libedit wants more than one character for a command: the rest of a sequence, which comes at once or not at
 * all, or an operand (of `quoted-insert`, or vi's `r`), which a person has yet to type. */
static int patience(const tty_t *tty) {
  return tty->first == L'\033' || tty->first == CONTROL_X ? TTY_SEQUENCE_WAIT : -1;
}

/* libedit's source of characters: 1, or -1 when there is none now. */
static int next_char(EditLine *editor, wchar_t *out) {
  tty_t *tty;
  el_get(editor, EL_CLIENTDATA, (void **)&tty);
  if (!tty_input_next(&tty->input, patience(tty), out)) {
    errno = EAGAIN;
    return -1;
  }
  if (!tty->first) tty->first = *out;
  return 1;
}

/* --- What is on the screen --- */

static int columns_of(tty_t *tty) {
  struct winsize size;
  if (ioctl(tty_output_terminal(tty->output), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

/* With the lock held, after libedit drew. */
static void note_position(tty_t *tty) {
  const LineInfoW *line = el_wline(tty->editor);
  tty_output_shown(tty->output, tty_text_row(tty->prompt_width, line->buffer, line->cursor, columns_of(tty)));
}

static void redraw(tty_t *tty) {
  el_set(tty->editor, EL_REFRESH);
  note_position(tty);
}

/* Takes the lock for work on the line; the prompt is on the screen then. */
static void enter_line(tty_t *tty) {
  tty_output_lock(tty->output);
  if (tty->editing && tty_output_take_erased(tty->output)) redraw(tty);
}

static void leave_line(tty_t *tty) { tty_output_unlock(tty->output); }

static wchar_t *push_prompt(EditLine *editor) {
  tty_t *tty;
  el_get(editor, EL_CLIENTDATA, (void **)&tty);
  return tty->prompt;
}

/* --- Events for Lua --- */

/* Enters the handler with `kind` and, below it on the stack, `nargs` more arguments. */
static void notify(tty_t *tty, const char *kind, int nargs) {
  lua_State *L = vm_state(tty->vm);
  lua_rawgeti(L, LUA_REGISTRYINDEX, tty->handler);
  lua_insert(L, -nargs - 1);
  lua_pushstring(L, kind);
  lua_insert(L, -nargs - 1);
  callback_enter(L, nargs + 1);
}

/* Ends the editing of a line; the terminal stays as it is (libedit leaves the mode alone while its editing is
 * off). With the lock held. */
static void stop_editing(tty_t *tty) {
  tty->editing = tty->searching = false;
  el_set(tty->editor, EL_EDITMODE, 0);
  el_set(tty->editor, EL_UNBUFFERED, 0);
  el_set(tty->editor, EL_EDITMODE, 1);
  tty_output_hidden(tty->output);
  uv_poll_stop(&tty->poll);
}

/* With the lock held. */
static void mark_pastes(tty_t *tty, bool on) {
  if (tty->marks_pastes == on) return;
  tty->marks_pastes = on;
  const char *text = on ? TTY_PASTE_ON : TTY_PASTE_OFF;
  write_all(tty_output_terminal(tty->output), text, strlen(text));
}

/* Gives the terminal its own modes back. */
static void release_terminal(tty_t *tty) {
  tty_output_lock(tty->output);
  if (tty->editing) stop_editing(tty);
  mark_pastes(tty, false);
  el_set(tty->editor, EL_PREP_TERM, 0);
  tty_output_unlock(tty->output);
}

static void finish_terminal(tty_t *tty) {
  release_terminal(tty);
  tty->ended = true;
  notify(tty, "gone", 0);
}

/* Events that keys ask for come with what stands before the cursor and behind it. */
static void notify_wish(tty_t *tty) {
  const LineInfoW *line = el_wline(tty->editor);
  tty_text_push(vm_state(tty->vm), line->buffer, (size_t)(line->cursor - line->buffer));
  tty_text_push(vm_state(tty->vm), line->cursor, (size_t)(line->lastchar - line->cursor));
  notify(tty, tty->keys.wish, 2);
}

/* Ends the editing and leaves the line on the screen, with `mark` behind it. With the lock held. */
static void leave_on_screen(tty_t *tty, const char *mark) {
  const LineInfoW *line = el_wline(tty->editor);
  int columns = columns_of(tty);
  int row = tty_text_row(tty->prompt_width, line->buffer, line->cursor, columns);
  int last = tty_text_row(tty->prompt_width, line->buffer, line->lastchar, columns);
  for (; row < last; row++) fputs("\r\n", tty->out);
  fprintf(tty->out, "%s\r\n", mark);
  fflush(tty->out);
  stop_editing(tty);
}

static void finish_line(tty_t *tty) {
  enter_line(tty);
  const LineInfoW *line = el_wline(tty->editor);
  tty_text_push(vm_state(tty->vm), line->buffer, (size_t)(line->lastchar - line->buffer));
  leave_on_screen(tty, "");
  leave_line(tty);
  notify(tty, "line", 1);
}

/* A paste is typed into the line as it is, newlines too; one that ends with a newline is run. */
static void insert_paste(tty_t *tty) {
  tty_paste_t *paste = &tty->paste;
  bool run = tty_paste_trim(paste);
  enter_line(tty);
  tty_output_erase(tty->output);
  if (paste->length > 0) el_insertstr(tty->editor, paste->bytes);
  redraw(tty);
  leave_line(tty);
  bool too_big = paste->too_big;
  tty_paste_free(paste);
  if (too_big) notify(tty, "toomuch", 0);
  else if (run) finish_line(tty);
}

static void notify_key(tty_t *tty) {
  wchar_t key;
  if (next_char(tty->editor, &key) != 1) return;
  tty_text_push(vm_state(tty->vm), &key, 1);
  notify(tty, "key", 1);
}

/* Ctrl-Z: the shell gets the terminal as it was, and gives it back when we are continued. Our children stop,
 * too. */
static void suspend(tty_t *tty) {
  sigset_t stop, before;
  enter_line(tty);
  tty_output_erase(tty->output);
  el_set(tty->editor, EL_PREP_TERM, 0);
  leave_line(tty);
  sigemptyset(&stop);
  sigaddset(&stop, SIGTSTP);
  sigprocmask(SIG_BLOCK, &stop, &before);
  kill(0, SIGTSTP);
  raise(SIGSTOP);
  sigprocmask(SIG_SETMASK, &before, NULL);
  tty_output_lock(tty->output);
  el_set(tty->editor, EL_PREP_TERM, 1);
  tty_output_take_erased(tty->output);
  redraw(tty);
  tty_output_unlock(tty->output);
}

/* Lets libedit take one command from the input. What it led to is told to Lua without the lock. */
static void feed_one(tty_t *tty) {
  int count = 0;
  if (tty->searching) return notify_key(tty);
  if (tty_paste_take(&tty->paste, &tty->input)) {
    if (!tty->paste.open) insert_paste(tty);
    return;
  }
  tty->keys.wish = NULL;
  tty->first = 0;
  enter_line(tty);
  const wchar_t *text = el_wgets(tty->editor, &count);
  bool end = text && count == 1 && text[0] == END_OF_FILE;
  if (end) stop_editing(tty);
  else note_position(tty);
  leave_line(tty);
  if (end) notify(tty, "eof", 0);
  else if (tty->keys.wish == TTY_KEY_LINE) finish_line(tty);
  else if (tty->keys.wish == TTY_KEY_SUSPEND) suspend(tty);
  else if (tty->keys.wish) notify_wish(tty);
}

static void feed(tty_t *tty) {
  if (tty->feeding) return; /* the loop below us goes on */
  tty->feeding = true;
  while (tty->editing && tty_input_waits(&tty->input)) feed_one(tty);
  tty->feeding = false;
}

static void on_readable(uv_poll_t *handle, int status, int events) {
  tty_t *tty = handle->data;
  (void)events;
  bool interrupted = interrupt_take();
  if (interrupted) tty_input_drop(&tty->input); /* Ctrl-C drops what was typed ahead */
  ssize_t n = status < 0 ? -1 : tty_input_read(&tty->input);
  if (interrupted) notify(tty, "interrupt", 0);
  if (n > 0) return feed(tty);
  if (n < 0 && errno == EAGAIN) return;
  finish_terminal(tty);
}

static void on_wake(uv_async_t *handle) {
  tty_t *tty = handle->data;
  if (interrupt_take()) {
    tty_input_drop(&tty->input);
    notify(tty, "interrupt", 0);
  }
  enter_line(tty);
  leave_line(tty);
  feed(tty);
}

static void on_erased(void *data) { uv_async_send(&((tty_t *)data)->wake); }

/* Most terminals break the lines on the screen anew, so the cursor's row is that of the new width. */
static void on_resized(uv_signal_t *handle, int number) {
  tty_t *tty = handle->data;
  (void)number;
  tty_output_resize(tty->output);
  tty_output_lock(tty->output);
  el_resize(tty->editor);
  if (tty->editing) {
    if (!tty_output_take_erased(tty->output)) {
      note_position(tty);
      tty_output_erase(tty->output);
    }
    redraw(tty);
  }
  tty_output_unlock(tty->output);
}

static void set_prompt(tty_t *tty, const char *text) {
  size_t n = mbstowcs(tty->prompt, text, PROMPT_SIZE - 1);
  n = n == (size_t)-1 ? 0 : n;
  tty->prompt[n] = L'\0';
  tty->prompt_width = tty_text_advance(0, tty->prompt, tty->prompt + n);
}

/* --- The module `lrun.core.terminal` --- */

static tty_t *tty_of(lua_State *L) {
  lua_pushlightuserdata(L, (void *)&tty_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  tty_t *tty = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (!tty) luaL_error(L, "the terminal is not open");
  return tty;
}

/* A file of its own for a descriptor. */
static int open_file(int fd, const char *mode, FILE **out) {
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 10);
  if (copy < 0) return uv_translate_sys_error(errno);
  *out = fdopen(copy, mode);
  if (*out) return 0;
  int rc = uv_translate_sys_error(errno);
  close(copy);
  return rc;
}

static int open_editor(tty_t *tty) {
  int rc = open_file(STDIN_FILENO, "r", &tty->in);
  if (rc == 0) rc = open_file(tty_output_terminal(tty->output), "w", &tty->out);
  if (rc < 0) return rc;
  tty->history = history_init();
  if (!tty->history) return UV_ENOMEM;
  tty->editor = el_init("lrun", tty->in, tty->out, tty->out);
  if (!tty->editor) return UV_ENOMEM;
  HistEvent event;
  history(tty->history, &event, H_SETSIZE, HISTORY_SIZE);
  history(tty->history, &event, H_SETUNIQUE, 1); /* of two alike in a row one is kept */
  el_set(tty->editor, EL_CLIENTDATA, tty);
  el_set(tty->editor, EL_SIGNAL, 0);
  el_set(tty->editor, EL_HIST, history, tty->history);
  el_wset(tty->editor, EL_PROMPT_ESC, push_prompt, L'\1');
  el_wset(tty->editor, EL_GETCFN, next_char);
  tty_keys_bind(tty->editor);
  return 0;
}

/* The editor's modes must not outlive the process. */
static void close_tty(void *data) {
  tty_t *tty = data;
  if (tty->closed) return;
  tty->closed = true;
  interrupt_close();
  release_terminal(tty);
  tty_output_close(tty->output);
}

/* A handle is open as soon as its init has succeeded. */
static int open_handles(tty_t *tty) {
  uv_loop_t *loop = vm_loop(tty->vm);
  tty->poll.data = tty->wake.data = tty->resized.data = tty;
  int rc = uv_poll_init(loop, &tty->poll, STDIN_FILENO);
  if (rc == 0) rc = uv_async_init(loop, &tty->wake, on_wake);
  if (rc == 0) rc = uv_signal_init(loop, &tty->resized);
  if (rc == 0) rc = uv_signal_start(&tty->resized, on_resized, SIGWINCH);
  if (rc < 0) return rc;
  uv_unref((uv_handle_t *)&tty->resized);
  return 0;
}

static void free_editor(tty_t *tty) {
  if (tty->output) tty_output_close(tty->output);
  if (tty->editor) el_end(tty->editor);
  if (tty->history) history_end(tty->history);
  if (tty->in) fclose(tty->in);
  if (tty->out) fclose(tty->out);
}

static void on_handle_closed(uv_handle_t *handle) {
  tty_t *tty = handle->data;
  if (--tty->open_handles == 0) free(tty);
}

/* After a failed open: takes back what was opened. */
static void give_up(tty_t *tty) {
  uv_handle_t *const handles[] = {(uv_handle_t *)&tty->poll, (uv_handle_t *)&tty->wake,
                                  (uv_handle_t *)&tty->resized};
  free_editor(tty);
  for (size_t i = 0; i < sizeof handles / sizeof *handles; i++) {
    if (handles[i]->type == UV_UNKNOWN_HANDLE) continue;
    tty->open_handles++;
    uv_close(handles[i], on_handle_closed);
  }
  if (tty->open_handles == 0) free(tty);
}

/* open(handler): handler(kind, text) gets what console.lua lists. The loop lives until the process exits. */
static int l_open(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  tty_t *tty = calloc(1, sizeof *tty);
  if (!tty) return errors_result(L, UV_ENOMEM, "open");
  tty->vm = vm_of(L);
  tty_text_init();
  int rc = tty_output_open(on_erased, tty, &tty->output);
  if (rc == 0) rc = open_editor(tty);
  if (rc == 0) rc = open_handles(tty);
  if (rc < 0) {
    give_up(tty);
    return errors_result(L, rc, "open");
  }
  interrupt_open(L, &tty->wake);
  lua_settop(L, 1);
  tty->handler = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pushlightuserdata(L, (void *)&tty_key);
  lua_pushlightuserdata(L, tty);
  lua_rawset(L, LUA_REGISTRYINDEX);
  tty_end_watch(close_tty, tty);
  vm_at_exit(tty->vm, close_tty, tty);
  return errors_result(L, 0, "open");
}

/* Lines that were typed while a chunk ran, as long as the terminal is in the mode that they were typed in: there
 * Ctrl-D is an end of the kernel's, and would be a zero after the change. */
static void take_typed_ahead(tty_t *tty) {
  struct pollfd ready = {.fd = STDIN_FILENO, .events = POLLIN};
  while (poll(&ready, 1, 0) > 0 && ready.revents == POLLIN) {
    size_t before = tty->input.end - tty->input.start;
    ssize_t n = tty_input_read(&tty->input);
    if (n == 0) tty->input.bytes[tty->input.end++] = END_OF_FILE; /* reading has made room */
    if (n < 0 || tty->input.end - tty->input.start == before) return;
  }
}

/* prompt(text): shows a prompt and takes a line. */
static int l_prompt(lua_State *L) {
  tty_t *tty = tty_of(L);
  const char *text = luaL_checkstring(L, 1);
  if (tty->editing || tty->ended) return 0;
  tty_output_drain(tty->output);
  set_prompt(tty, text);
  tty_output_lock(tty->output);
  tty_output_take_erased(tty->output);
  tty->editing = true;
  if (!tty->marks_pastes) take_typed_ahead(tty);
  mark_pastes(tty, true);
  el_set(tty->editor, EL_UNBUFFERED, 1);
  note_position(tty);
  tty_output_unlock(tty->output);
  uv_poll_start(&tty->poll, UV_READABLE, on_readable);
  interrupt_renew();
  if (tty_input_waits(&tty->input)) uv_async_send(&tty->wake);
  return 0;
}

/* release(): the terminal is no longer ours, until the next prompt. */
static int l_release(lua_State *L) {
  release_terminal(tty_of(L));
  return 0;
}

/* Whether this is the text before the cursor. */
static bool stands_before(lua_State *L, const tty_t *tty, int index) {
  if (!tty->editing) return false;
  const LineInfoW *line = el_wline(tty->editor);
  tty_text_push(L, line->buffer, (size_t)(line->cursor - line->buffer));
  bool same = lua_rawequal(L, -1, index) != 0;
  lua_pop(L, 1);
  return same;
}

/* insert(text[, before]): types it at the cursor, before what else is typed. With `before` only where that still stands
 * before the cursor: for an answer that came later. */
static int l_insert(lua_State *L) {
  tty_t *tty = tty_of(L);
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  if (!lua_isnoneornil(L, 2) && !stands_before(L, tty, 2)) return 0;
  if (tty_input_insert(&tty->input, text, length)) uv_async_send(&tty->wake);
  return 0;
}

/* search(on): whether keys go to the handler. */
static int l_search(lua_State *L) {
  tty_of(L)->searching = lua_toboolean(L, 1);
  return 0;
}

/* show(prompt, line): puts another prompt and line in the place of those that are shown. */
static int l_show(lua_State *L) {
  tty_t *tty = tty_of(L);
  const char *prompt = luaL_checkstring(L, 1);
  const char *text = luaL_checkstring(L, 2);
  if (!tty->editing) return 0;
  enter_line(tty);
  tty_output_erase(tty->output);
  const LineInfoW *line = el_wline(tty->editor);
  el_cursor(tty->editor, (int)(line->lastchar - line->cursor));
  el_deletestr(tty->editor, (int)(line->lastchar - line->buffer));
  set_prompt(tty, prompt);
  el_insertstr(tty->editor, text);
  redraw(tty);
  leave_line(tty);
  return 0;
}

/* cancel(): gives the line up and leaves it on the screen, with `^C` behind it. */
static int l_cancel(lua_State *L) {
  tty_t *tty = tty_of(L);
  if (!tty->editing) return 0;
  enter_line(tty);
  leave_on_screen(tty, "^C");
  leave_line(tty);
  return 0;
}

/* history(list): the lines that the arrow keys bring back, oldest first. */
static int l_history(lua_State *L) {
  tty_t *tty = tty_of(L);
  HistEvent event;
  luaL_checktype(L, 1, LUA_TTABLE);
  history(tty->history, &event, H_CLEAR);
  int count = (int)lua_objlen(L, 1);
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, 1, i);
    if (lua_isstring(L, -1)) history(tty->history, &event, H_ENTER, lua_tostring(L, -1));
    lua_pop(L, 1);
  }
  return 0;
}

/* remember(line): one more line of history. */
static int l_remember(lua_State *L) {
  HistEvent event;
  history(tty_of(L)->history, &event, H_ENTER, luaL_checkstring(L, 1));
  return 0;
}

static int l_columns(lua_State *L) {
  lua_pushinteger(L, columns_of(tty_of(L)));
  return 1;
}

/* forget(): what was typed ahead is dropped. */
static int l_forget(lua_State *L) {
  tty_input_drop(&tty_of(L)->input);
  return 0;
}

int luaopen_lrun_terminal(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"open", l_open},         {"prompt", l_prompt},   {"release", l_release}, {"insert", l_insert},
      {"cancel", l_cancel},     {"search", l_search},   {"show", l_show},       {"history", l_history},
      {"remember", l_remember}, {"columns", l_columns}, {"forget", l_forget},   {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  return 1;
}
