/* json/text.c: the bytes of strings, as both ways look at them. */
#include "json/json.h"

#include "json/plain.h"

/* Up to 15 bytes: as sixteen, with spaces behind them. */
static size_t run_of_rest(const unsigned char *bytes, size_t length, bool ascii) {
  unsigned char step[PLAIN_STEP];
  memset(step, ' ', sizeof step);
  memcpy(step, bytes, length);
  unsigned marks = plain_marks(step, ascii);
  return marks ? (size_t)__builtin_ctz(marks) : length;
}

size_t json_plain_run(const unsigned char *bytes, const unsigned char *end, bool ascii) {
  const unsigned char *at = bytes;
  for (; end - at >= PLAIN_STEP; at += PLAIN_STEP) {
    unsigned marks = plain_marks(at, ascii);
    if (marks) return (size_t)(at - bytes) + (size_t)__builtin_ctz(marks);
  }
  return (size_t)(at - bytes) + run_of_rest(at, (size_t)(end - at), ascii);
}

size_t json_utf8_sequence(const unsigned char *s, size_t left) {
  size_t length = s[0] >= 0xC2 && s[0] <= 0xDF   ? 2
                  : s[0] >= 0xE0 && s[0] <= 0xEF ? 3
                  : s[0] >= 0xF0 && s[0] <= 0xF4 ? 4
                                                 : 0;
  if (length == 0 || length > left) return 0;
  for (size_t i = 1; i < length; i++)
    if ((s[i] & 0xC0) != 0x80) return 0;
  if (s[0] == 0xE0 && s[1] < 0xA0) return 0; /* longer than it need be */
  if (s[0] == 0xED && s[1] > 0x9F) return 0; /* half of a surrogate pair */
  if (s[0] == 0xF0 && s[1] < 0x90) return 0;
  if (s[0] == 0xF4 && s[1] > 0x8F) return 0; /* above U+10FFFF */
  return length;
}
