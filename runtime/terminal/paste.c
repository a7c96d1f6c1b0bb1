/* terminal/paste.c: takes a paste out of the input: the text between "\033[200~" and "\033[201~", with newlines for
 * carriage returns, however many reads it comes in. */
#include "terminal/paste.h"

#include <stdlib.h>
#include <string.h>

static const char BEGIN[] = "\033[200~", END[] = "\033[201~";
enum { MARK = sizeof BEGIN - 1 };

static bool append(tty_paste_t *paste, const char *bytes, size_t length) {
  if (paste->length + length > TTY_PASTE_LIMIT + MARK) return false;
  if (paste->length + length > paste->size) {
    size_t size = paste->size * 2 + length;
    char *grown = realloc(paste->bytes, size);
    if (!grown) return false;
    paste->bytes = grown;
    paste->size = size;
  }
  memcpy(paste->bytes + paste->length, bytes, length);
  paste->length += length;
  return true;
}

/* Keeps only what may be the first bytes of the end mark: the rest did not fit. */
static void drop(tty_paste_t *paste) {
  size_t kept = paste->length < MARK ? paste->length : MARK;
  memmove(paste->bytes, paste->bytes + paste->length - kept, kept);
  paste->length = kept;
  paste->too_big = true;
}

static void normalize(tty_paste_t *paste) {
  size_t to = 0;
  for (size_t from = 0; from < paste->length; from++) {
    char byte = paste->bytes[from];
    if (byte == '\r' && from + 1 < paste->length && paste->bytes[from + 1] == '\n') continue;
    if (byte != '\0') paste->bytes[to++] = byte == '\r' ? '\n' : byte;
  }
  paste->length = to;
}

/* One byte after the other until the end mark is there: what follows it stays in the input. */
static void take_rest(tty_paste_t *paste, tty_input_t *input) {
  while (input->start < input->end) {
    char byte = input->bytes[input->start++];
    if (!append(paste, &byte, 1)) {
      drop(paste);
      append(paste, &byte, 1);
    }
    if (paste->length >= MARK && memcmp(paste->bytes + paste->length - MARK, END, MARK) == 0) {
      paste->length = paste->too_big ? 0 : paste->length - MARK;
      paste->open = false;
      normalize(paste);
      return;
    }
  }
}

/* Whether the input begins with the mark; waits a moment for the rest of one that is cut. */
static bool begins(tty_input_t *input) {
  for (;;) {
    size_t length = input->end - input->start;
    size_t compared = length < MARK ? length : MARK;
    if (compared == 0 || memcmp(input->bytes + input->start, BEGIN, compared) != 0) return false;
    if (compared == MARK) return true;
    if (!tty_input_more(input, TTY_SEQUENCE_WAIT)) return false;
  }
}

bool tty_paste_take(tty_paste_t *paste, tty_input_t *input) {
  if (!paste->open) {
    if (!begins(input)) return false;
    input->start += MARK;
    paste->open = true;
    paste->too_big = false;
    paste->length = 0;
  }
  take_rest(paste, input);
  return true;
}

bool tty_paste_trim(tty_paste_t *paste) {
  size_t before = paste->length;
  while (paste->length > 0 && paste->bytes[paste->length - 1] == '\n') paste->length--;
  if (paste->bytes) paste->bytes[paste->length] = '\0';              /* the end mark was there */
  if (paste->bytes && mbstowcs(NULL, paste->bytes, 0) == (size_t)-1) /* libedit would take none of it */
    for (size_t i = 0; i < paste->length; i++)
      if (paste->bytes[i] & 0x80) paste->bytes[i] = '?';
  return paste->length > 0 && paste->length < before;
}

void tty_paste_free(tty_paste_t *paste) {
  free(paste->bytes);
  *paste = (tty_paste_t){0};
}
