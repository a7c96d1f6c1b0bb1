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

/* Eight bytes at once: whether one may be a control byte; never false where one is. */
static bool maybe_control(const char *s) {
  const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
  uint64_t word;
  memcpy(&word, s, sizeof word);
  uint64_t below_space = (word - ones * ' ') & ~word & high;
  uint64_t del = word ^ ones * 127;
  return (below_space | ((del - ones) & ~del & high)) != 0;
}

bool http_all_text(const char *s, size_t len) {
  const char *end = s + len;
  for (; end - s > 8 && !maybe_control(s); s += 8) {}
  if (len >= 8 && end - s <= 8 && !maybe_control(end - 8)) return true;
  while (s < end && http_is_text((unsigned char)*s)) s++;
  return s == end;
}
