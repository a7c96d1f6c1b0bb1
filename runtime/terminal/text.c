/* terminal/text.c: width and encoding of what is typed at the prompt. */
#include "terminal/text.h"

#include <langinfo.h>
#include <lauxlib.h>
#include <locale.h>
#include <string.h>

int tty_text_advance(int column, const wchar_t *text, const wchar_t *end) {
  for (; text < end; text++) {
    if (*text == L'\t') column += 8 - column % 8;
    else if (*text < 32 || *text == 127) column += 2;
    else column += wcwidth(*text) > 0 ? wcwidth(*text) : 0;
  }
  return column;
}

int tty_text_row(int column, const wchar_t *text, const wchar_t *end, int columns) {
  int row = 0;
  for (const wchar_t *start = text;; start = text + 1, column = 0) {
    for (text = start; text < end && *text != L'\n';) text++;
    row += tty_text_advance(column, start, text) / columns;
    if (text == end) return row;
    row++;
  }
}

void tty_text_push(lua_State *L, const wchar_t *text, size_t length) {
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  for (size_t i = 0; i < length; i++) {
    char bytes[16];
    mbstate_t mb = {0};
    size_t n = wcrtomb(bytes, text[i], &mb);
    if (n != (size_t)-1) luaL_addlstring(&buffer, bytes, n);
  }
  luaL_pushresult(&buffer);
}

void tty_text_init(void) {
  setlocale(LC_CTYPE, "");
  if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0) setlocale(LC_CTYPE, "C.UTF-8");
}
