/* json/plain.h: sixteen bytes of a string at once. A byte is plain when it stands for itself in a string of JSON: no
 * quote, backslash or control character; with `ascii`, none above 127. plain_marks gives a bit for each that is not. */
#ifndef LRUN_JSON_PLAIN_H
#define LRUN_JSON_PLAIN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { PLAIN_STEP = 16 };

#ifdef __SSE2__
#include <emmintrin.h>

static inline unsigned plain_marks(const unsigned char *bytes, bool ascii) {
  __m128i word;
  memcpy(&word, bytes, sizeof word);
  __m128i quote = _mm_cmpeq_epi8(word, _mm_set1_epi8('"')),
          backslash = _mm_cmpeq_epi8(word, _mm_set1_epi8('\\'));
  __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(word, _mm_set1_epi8(0x1f)), word);
  __m128i special = _mm_or_si128(_mm_or_si128(quote, backslash), control);
  if (ascii) special = _mm_or_si128(special, word);
  return (unsigned)_mm_movemask_epi8(special);
}

#else
#include <endian.h>

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* The highest bit of each byte that is 0. */
static inline uint64_t zero_bytes(uint64_t word) {
  return ~(((word & EACH(0x7f)) + EACH(0x7f)) | word | EACH(0x7f));
}

static inline unsigned plain_marks_of_word(const unsigned char *bytes, bool ascii) {
  uint64_t word;
  memcpy(&word, bytes, sizeof word);
  word = le64toh(word);
  uint64_t special =
      zero_bytes(word & EACH(0xe0)) | zero_bytes(word ^ EACH('"')) | zero_bytes(word ^ EACH('\\'));
  if (ascii) special |= word & EACH(0x80);
  return (unsigned)((special >> 7) * UINT64_C(0x0102040810204080) >> 56);
}

static inline unsigned plain_marks(const unsigned char *bytes, bool ascii) {
  return plain_marks_of_word(bytes, ascii) | plain_marks_of_word(bytes + 8, ascii) << 8;
}
#endif

#endif
