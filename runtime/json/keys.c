/* json/keys.c: a table of places, one for each hash. A key that comes a second time is kept; it loses its place to others
 * only when these have come often, so that data that are used as keys do not drive the known ones out. */
#include "json/keys.h"

#include <stdbool.h>
#include <string.h>

enum { CREDIT = 8 };

/* Of a key that has a length. */
static inline bool comes(const json_key_t *key, const unsigned char *text, const unsigned char *end) {
  size_t left = (size_t)(end - text), length = key->length;
  if (left >= JSON_KEY_MAX) return same_words(text, key->text, length);
  return left >= length && memcmp(text, key->text, length) == 0;
}

size_t json_keys_guess(const json_keys_t *keys, lua_State *L, int strings, int place,
                       const unsigned char *text, const unsigned char *end) {
  const json_key_t *key = &keys->places[place];
  if (key->credit == 0 || !comes(key, text, end)) return 0;
  lua_rawgeti(L, strings, place + 1);
  return key->length;
}

/* Of up to 8 bytes from either end and the length. */
static int place_of(const unsigned char *text, size_t length) {
  uint64_t first = 0, last = 0;
  size_t most = length < sizeof first ? length : sizeof first;
  memcpy(&first, text, most);
  memcpy(&last, text + length - most, most);
  uint64_t hash = (first ^ (last << 31 | last >> 33) ^ length) * UINT64_C(0x9e3779b97f4a7c15);
  return (int)(hash >> 56);
}

static void note(json_key_t *key, const unsigned char *text, size_t length) {
  key->length = (uint8_t)(length + 1);
  key->credit = 0;
  memcpy(key->text, text, length + 1);
}

static bool is_same(const json_key_t *key, const unsigned char *text, size_t length) {
  return key->length == length + 1 && memcmp(key->text, text, length) == 0;
}

/* Making a string may run finalizers, and these may read JSON: what is here is looked at behind it. */
int json_keys_push(json_keys_t *keys, lua_State *L, int strings, const unsigned char *text, size_t length) {
  int place = length < JSON_KEY_MAX ? place_of(text, length) : -1;
  json_key_t *key = place >= 0 ? &keys->places[place] : NULL;
  if (key && key->credit > 0 && is_same(key, text, length)) {
    key->credit = CREDIT;
    lua_rawgeti(L, strings, place + 1);
    return place;
  }
  lua_pushlstring(L, (const char *)text, length);
  if (!key) return -1;
  if (is_same(key, text, length)) {
    lua_pushvalue(L, -1);
    lua_rawseti(L, strings, place + 1);
    key->credit = CREDIT;
  } else if (key->credit == 0 || --key->credit == 0) {
    note(key, text, length);
  }
  return place;
}
