/* json/text.c: the bytes of strings, as both ways look at them. */
#include "json/json.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

static uint64_t load4(const unsigned char *bytes) {
  uint32_t word;
  memcpy(&word, bytes, sizeof word);
  return le32toh(word) | (uint64_t)' ' * 0x0101010100000000; /* plain ones behind it */
}

static bool is_plain(unsigned char c, bool ascii) {
  return c >= 0x20 && c != '"' && c != '\\' && (c < 0x80 || !ascii);
}

/* Marks (0x80) bytes of eight that are not plain: the first for certain, those after it perhaps wrongly. */
static uint64_t special_bytes(uint64_t word, bool ascii) {
  uint64_t quote = word ^ EACH('"'), backslash = word ^ EACH('\\');
  uint64_t special =
      ((word - EACH(0x20)) & ~word) | ((quote - EACH(1)) & ~quote) | ((backslash - EACH(1)) & ~backslash);
  if (ascii) special |= word;
  return special & EACH(0x80);
}

size_t json_plain_run(const unsigned char *bytes, const unsigned char *end, bool ascii) {
  const unsigned char *at = bytes;
  uint64_t word;
  for (; end - at >= (ptrdiff_t)sizeof word; at += sizeof word) {
    memcpy(&word, at, sizeof word);
    uint64_t special = special_bytes(le64toh(word), ascii);
    if (special) return (size_t)(at - bytes) + (size_t)__builtin_ctzll(special) / 8;
  }
  size_t left = (size_t)(end - at);
  if (left >= 4) { /* four, and the last four, which may be some of the same */
    uint64_t special = special_bytes(load4(at), ascii);
    if (!special) {
      at += left - 4;
      special = special_bytes(load4(at), ascii);
    }
    return (size_t)(at - bytes) + (special ? (size_t)__builtin_ctzll(special) / 8 : 4);
  }
  while (at < end && is_plain(*at, ascii)) at++;
  return (size_t)(at - bytes);
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
