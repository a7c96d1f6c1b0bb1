/* http/grammar.c: see http/grammar.h. */
#include "http/grammar.h"

#include <stdint.h>
#include <string.h>

enum { TOKEN = HTTP_TOKEN, TEXT = HTTP_TEXT, HOST = HTTP_HOST, PLAIN = HTTP_PLAIN };

/* 0: refused everywhere. Bytes above 127 are text only. */
const unsigned char http_classes[256] = {
    ['\t'] = TEXT,
    [' '] = TEXT,
    ['!'] = TOKEN | TEXT | HOST | PLAIN,
    ['"'] = TEXT,
    ['#'] = TOKEN | TEXT,
    ['$'] = TOKEN | TEXT | HOST | PLAIN,
    ['%'] = TOKEN | TEXT | HOST | PLAIN,
    ['&'] = TOKEN | TEXT | HOST | PLAIN,
    ['\''] = TOKEN | TEXT | HOST | PLAIN,
    ['('] = TEXT | HOST | PLAIN,
    [')'] = TEXT | HOST | PLAIN,
    ['*'] = TOKEN | TEXT | HOST | PLAIN,
    ['+'] = TOKEN | TEXT | HOST | PLAIN,
    [','] = TEXT | PLAIN,
    ['-'] = TOKEN | TEXT | HOST | PLAIN,
    ['.'] = TOKEN | TEXT | HOST | PLAIN,
    ['/'] = TEXT | PLAIN,
    ['0' ... '9'] = TOKEN | TEXT | HOST | PLAIN,
    [':'] = TEXT | HOST | PLAIN,
    [';'] = TEXT | HOST | PLAIN,
    ['<'] = TEXT,
    ['='] = TEXT | PLAIN,
    ['>'] = TEXT,
    ['?'] = TEXT | PLAIN,
    ['@'] = TEXT | PLAIN,
    ['A' ... 'Z'] = TOKEN | TEXT | HOST | PLAIN,
    ['['] = TEXT | HOST,
    ['\\'] = TEXT,
    [']'] = TEXT | HOST,
    ['^'] = TOKEN | TEXT,
    ['_'] = TOKEN | TEXT | HOST | PLAIN,
    ['`'] = TOKEN | TEXT,
    ['a' ... 'z'] = TOKEN | TEXT | HOST | PLAIN,
    ['{'] = TEXT,
    ['|'] = TOKEN | TEXT,
    ['}'] = TEXT,
    ['~'] = TOKEN | TEXT | HOST | PLAIN,
    [128 ... 255] = TEXT,
};

bool http_all_text_bytes(const char *s, size_t len) {
  const char *end = s + len;
  while (s < end && http_is_text((unsigned char)*s)) s++;
  return s == end;
}
