/* ipc/keys.c: see ipc/keys.h. */
#include "ipc/keys.h"

#include <stdlib.h>
#include <string.h>

static unsigned bit_of(const char *text, size_t length) {
  return (unsigned)(length * 29 + (unsigned char)text[0] * 7U + (unsigned char)text[length - 1] * 13U) & 255;
}

bool keys_have(const keys_t *keys, const char *text, size_t length) {
  if (!keys || length == 0 || length > KEYS_LENGTH_MAX) return false;
  unsigned bit = bit_of(text, length);
  if (!(keys->glance[bit / 64] >> bit % 64 & 1)) return false;
  for (unsigned i = 0; i < keys->count; i++)
    if (keys->lengths[i] == length && memcmp(&keys->bytes[keys->places[i]], text, length) == 0) return true;
  return false;
}

static bool grow(keys_t *keys, size_t length) {
  if (keys->bytes && (size_t)keys->capacity - keys->used >= length) return true;
  size_t capacity = (size_t)keys->capacity * 2 + 4 * (size_t)KEYS_LENGTH_MAX;
  char *bytes = realloc(keys->bytes, capacity);
  if (!bytes) return false;
  keys->bytes = bytes;
  keys->capacity = (uint16_t)capacity;
  return true;
}

static bool add(keys_t *keys, const char *text, size_t length) {
  if (length == 0 || length > KEYS_LENGTH_MAX || keys->count == KEYS_MAX || keys_have(keys, text, length))
    return false;
  if (!grow(keys, length)) return false;
  unsigned bit = bit_of(text, length);
  keys->glance[bit / 64] |= (uint64_t)1 << bit % 64;
  keys->lengths[keys->count] = (uint8_t)length;
  keys->places[keys->count++] = keys->used;
  memcpy(&keys->bytes[keys->used], text, length);
  keys->used = (uint16_t)(keys->used + length);
  return true;
}

void keys_free(keys_t *keys) {
  if (keys) free(keys->bytes);
  free(keys);
}

bool keys_add(keys_t **keys, const char *body, size_t length) {
  if (!*keys) *keys = calloc(1, sizeof **keys);
  if (!*keys) return false;
  for (size_t at = 0; at < length;) {
    size_t own = (unsigned char)body[at++];
    if (own > length - at || !add(*keys, &body[at], own)) return false;
    at += own;
  }
  return true;
}
