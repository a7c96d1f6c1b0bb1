/* ipc/check.c: walks over serialized bytes without making anything of them. The codec itself is LuaJIT's
 * string.buffer, called by lualib/lrun/ipc/codec.lua.
 *
 * The walk is strict because string.buffer must not throw: under LuaJIT an error in the middle of compiled
 * code leaves the callers' variables in disorder. */
#include "ipc/check.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* LuaJIT's own limits: LJ_SERIALIZE_DEPTH, LJ_MAX_ASIZE, LJ_MAX_HBITS. */
enum { MAX_DEPTH = 100, MAX_ARRAY = 1 << 27, MAX_HASH = 1 << 26 };

/* Tags of LuaJIT's serialization; a tag from STRING on is a string of (tag - STRING) bytes. */
enum {
  TAG_NIL = 0x00,
  TAG_FALSE = 0x01,
  TAG_TRUE = 0x02,
  TAG_NULL = 0x03,
  TAG_POINTER32 = 0x04,
  TAG_POINTER64 = 0x05,
  TAG_INT = 0x06,
  TAG_NUMBER = 0x07,
  TAG_TABLE = 0x08, /* + 1: hash part, + 2: array from 0, + 4: array from 1 */
  TAG_TABLE_LAST = 0x0d,
  TAG_KEY = 0x0f, /* of a table: its number among those that the peer has told of */
  TAG_INT64 = 0x10,
  TAG_UINT64 = 0x11,
  TAG_COMPLEX = 0x12,
  TAG_STRING = 0x20,
  TAG_LONG_STRING = 0xe0 /* the size takes more than the tag */
};

typedef const unsigned char *place_t;

/* Each of these returns the place after what it passed over, or NULL when that is not there. */

static inline place_t skip(place_t at, place_t end, size_t length) {
  return (size_t)(end - at) < length ? NULL : at + length;
}

static place_t read_long_size(place_t at, place_t end, size_t *size) {
  size_t left = (size_t)(end - at);
  if (at[0] < 0xff) {
    if (left < 2) return NULL;
    *size = (size_t)(at[0] & 0x1f) * 256 + at[1] + 0xe0;
    return at + 2;
  }
  if (left < 5) return NULL;
  *size = at[1] | (size_t)at[2] << 8 | (size_t)at[3] << 16 | (size_t)at[4] << 24;
  return at + 5;
}

static inline place_t read_size(place_t at, place_t end, size_t *size) {
  if (at == end) return NULL;
  if (*at >= TAG_LONG_STRING) return read_long_size(at, end, size);
  *size = *at;
  return at + 1;
}

static place_t skip_long_string(place_t at, place_t end) {
  size_t size;
  at = read_size(at, end, &size);
  return at && size >= TAG_STRING ? skip(at, end, size - TAG_STRING) : NULL;
}

/* The size of an object that is no table, where its tag tells it; else 0. */
static inline size_t scalar_size(unsigned tag) {
  static const uint8_t sizes[TAG_STRING] = {
      [TAG_NIL] = 1,    [TAG_FALSE] = 1, [TAG_TRUE] = 1,   [TAG_NULL] = 1,    [TAG_INT] = 5,
      [TAG_NUMBER] = 9, [TAG_INT64] = 9, [TAG_UINT64] = 9, [TAG_COMPLEX] = 17};
  if (tag < TAG_STRING) return sizes[tag];
  return tag < TAG_LONG_STRING ? tag - TAG_STRING + 1 : 0;
}

/* An object that is no table. */
static inline place_t skip_scalar(place_t at, place_t end) {
  if (*at >= TAG_LONG_STRING) return skip_long_string(at, end);
  size_t size = scalar_size(*at);
  return size > 0 ? skip(at, end, size) : NULL;
}

static inline bool is_table(unsigned tag) { return tag >= TAG_TABLE && tag <= TAG_TABLE_LAST; }

/* A table that is open: what is still to come, objects first, then keys and values in turn. */
typedef struct {
  uint32_t objects, pairs;
  uint32_t first, end; /* the indices of its array: from `first`, below `end` */
  uint32_t number;     /* tables are counted */
  uint64_t seen;       /* a bit for each key, by what a glance shows of it */
  uint64_t numbered;   /* a bit for each key that is named by number */
} level_t;

/* The head of a table. */
static inline place_t open_table(place_t at, place_t end, level_t *level) {
  unsigned parts = *at++ - TAG_TABLE;
  size_t array = 0, pairs = 0;
  if (parts >= 2) at = read_size(at, end, &array);
  if (at && (parts & 1)) at = read_size(at, end, &pairs);
  size_t first = parts >= 4 ? 1 : 0;
  if (!at || array < first || array > MAX_ARRAY || pairs > MAX_HASH) return NULL;
  if (array - first + 2 * pairs > (size_t)(end - at)) return NULL; /* an object is a byte or more */
  level->objects = (uint32_t)(array - first);
  level->pairs = (uint32_t)pairs;
  level->first = (uint32_t)first;
  level->end = (uint32_t)array;
  level->seen = level->numbered = 0;
  return at;
}

/* Keys ----------------------------------------------------------------------------------------------------
 * A key that is nil or NaN, or comes twice, is none. Two keys of a table seldom look alike at a glance; only
 * when some do, a second walk gathers all keys in a set. A string that has a number is named by it and never by
 * its bytes, so that these two need not be compared. */

typedef struct {
  uint32_t table, offset; /* where the key is, plus 1; 0: free */
} key_place_t;

typedef struct {
  place_t bytes;
  const keys_t *numbered;
  uint32_t count, shape;
  bool alike, unnumbered;
  key_place_t *places; /* of the second walk */
  size_t size;         /* a power of two */
} key_set_t;

typedef struct {
  unsigned tag; /* TAG_STRING, TAG_NUMBER, TAG_KEY, or that of a value that is equal to itself alone */
  double number;
  place_t text;
  size_t length;
} table_key_t;

/* Of bytes that have been walked over. False: no other key is equal to it. */
static bool read_key(place_t at, place_t end, table_key_t *key) {
  *key = (table_key_t){.tag = *at, .text = at};
  if (*at >= TAG_STRING) {
    size_t size = 0;
    key->text = read_size(at, end, &size);
    assert(key->text);
    key->tag = TAG_STRING;
    key->length = size - TAG_STRING;
  } else if (*at == TAG_KEY) {
    key->number = at[1];
  } else if (*at == TAG_INT) {
    int32_t value;
    memcpy(&value, at + 1, sizeof value);
    key->tag = TAG_NUMBER;
    key->number = value;
  } else if (*at == TAG_NUMBER) {
    memcpy(&key->number, at + 1, sizeof key->number);
  } else {
    return *at == TAG_FALSE || *at == TAG_TRUE || *at == TAG_NULL;
  }
  return true;
}

static bool same_key(const table_key_t *a, const table_key_t *b) {
  if (a->tag != b->tag || a->length != b->length) return false;
  return a->tag == TAG_STRING ? memcmp(a->text, b->text, a->length) == 0 : a->number == b->number;
}

static size_t hash_key(const table_key_t *key, uint32_t table) {
  uint64_t hash = 0xcbf29ce484222325u ^ table, bits;
  double number = key->number + 0.0; /* -0 is 0 */
  memcpy(&bits, &number, sizeof bits);
  hash = (hash ^ bits ^ key->tag) * 0x100000001b3u;
  for (size_t i = 0; i < key->length; i++) hash = (hash ^ key->text[i]) * 0x100000001b3u;
  return (size_t)(hash ^ hash >> 32);
}

/* False: the table has it already. */
static bool gather_key(key_set_t *keys, const level_t *level, const unsigned char *at,
                       const unsigned char *end) {
  table_key_t key, other;
  if (!read_key(at, end, &key)) return true;
  if (key.tag == TAG_NUMBER && key.number >= level->first && key.number < level->end &&
      key.number == (double)(uint32_t)key.number)
    return false; /* its place is in the array */
  size_t place = hash_key(&key, level->number) & (keys->size - 1);
  for (; keys->places[place].offset; place = (place + 1) & (keys->size - 1)) {
    if (keys->places[place].table != level->number) continue;
    read_key(keys->bytes + keys->places[place].offset - 1, end, &other);
    if (same_key(&key, &other)) return false;
  }
  keys->places[place] = (key_place_t){level->number, (uint32_t)(at - keys->bytes) + 1};
  return true;
}

/* The place after a key, or NULL when it is none. */
static inline place_t skip_key(const key_set_t *keys, place_t at, place_t end) {
  if (*at != TAG_KEY) return skip_scalar(at, end);
  return keys->numbered && end - at >= 2 && at[1] < keys->numbered->count ? at + 2 : NULL;
}

/* A string's bytes, of which the whole was passed over. */
static bool has_number(const key_set_t *keys, place_t at, place_t end) {
  size_t size = 0;
  place_t text = read_size(at, end, &size);
  assert(text);
  return keys_have(keys->numbered, (const char *)text, size - TAG_STRING);
}

/* What of an object that is no table belongs to the shape: numbers and integers, strings and long ones are kinds. */
static inline unsigned kind_of(unsigned tag) {
  if (tag >= TAG_STRING) return tag < TAG_LONG_STRING ? TAG_STRING : TAG_LONG_STRING;
  return tag == TAG_TRUE ? TAG_FALSE : tag;
}

/* The tables, their keys and the kinds of what is in them, in their order, in few bits. */
static inline uint32_t shape_with(uint32_t shape, uint32_t part) { return (shape ^ part) * 0x01000193u; }

static inline uint64_t number_bit(unsigned number) { return (uint64_t)1 << (number & 63); }

static inline void glance_number(key_set_t *keys, level_t *level, unsigned number) {
  uint64_t own = number_bit(number);
  if (level->numbered & own) keys->alike = true;
  level->numbered |= own;
  keys->shape = shape_with(keys->shape, number);
}

/* False: it is no key. */
static inline bool glance(key_set_t *keys, level_t *level, place_t at, place_t end) {
  unsigned tag = *at;
  size_t length = (size_t)(end - at);
  keys->count++;
  if (tag == TAG_KEY) {
    glance_number(keys, level, at[1]);
    return true;
  }
  keys->unnumbered = true;
  if (tag == TAG_NIL) return false;
  if (tag >= TAG_STRING && keys->numbered && has_number(keys, at, end)) return false;
  if (tag == TAG_NUMBER) {
    double number;
    memcpy(&number, at + 1, sizeof number);
    if (number != number) return false;
  }
  if (tag == TAG_INT || tag == TAG_NUMBER ||
      tag == 0xff) { /* numbers and lengths can be written in two ways */
    keys->alike = true;
    return true;
  }
  uint64_t bit = (uint64_t)1 << ((length * 7 + at[length / 2] * 3u + end[-1] * 5u) & 63);
  if (level->seen & bit) keys->alike = true;
  level->seen |= bit;
  return true;
}

/* The walk ------------------------------------------------------------------------------------------------ */

/* The most of most messages in few steps, with what changes at each of them in variables: objects that are no tables, as far as
 * there is no other. */
static inline place_t skip_objects(key_set_t *keys, level_t *level, place_t at, place_t end) {
  uint32_t objects = level->objects, shape = keys->shape;
  for (; objects > 0 && at < end; objects--) {
    unsigned tag = *at;
    size_t size = scalar_size(tag);
    if (size == 0 || size > (size_t)(end - at)) break;
    shape = shape_with(shape, kind_of(tag));
    at += size;
  }
  level->objects = objects;
  keys->shape = shape;
  return at;
}

/* Likewise pairs of a key that has a number below `numbers` and such an object; of a pair with another one the key. */
static inline place_t skip_pairs(key_set_t *keys, level_t *level, place_t at, place_t end, unsigned numbers) {
  uint32_t pairs = level->pairs, shape = keys->shape;
  uint64_t numbered = level->numbered, alike = 0;
  while (pairs > 0 && end - at > 2 && at[0] == TAG_KEY && at[1] < numbers) {
    unsigned number = at[1], tag = at[2];
    size_t size = scalar_size(tag);
    uint64_t own = number_bit(number);
    alike |= numbered & own;
    numbered |= own;
    pairs--;
    at += 2;
    if (size == 0 || size > (size_t)(end - at)) {
      shape = shape_with(shape, number);
      level->objects = 1;
      break;
    }
    shape = shape_with(shape, number << 8 | kind_of(tag));
    at += size;
  }
  if (alike) keys->alike = true;
  keys->count += level->pairs - pairs;
  keys->shape = shape;
  level->pairs = pairs;
  level->numbered = numbered;
  return at;
}

static inline bool walk(key_set_t *keys, size_t length, bool gather) {
  place_t at = keys->bytes, end = at + length;
  level_t levels[MAX_DEPTH + 1], *level = levels;
  *level = (level_t){.objects = 1};
  uint32_t tables = 0;
  unsigned numbers = keys->numbered && !gather ? keys->numbered->count : 0;
  for (;;) {
    if (level->objects > 0) at = skip_objects(keys, level, at, end);
    else at = skip_pairs(keys, level, at, end, numbers);
    if (level->objects > 0) {
      level->objects--;
    } else if (level->pairs > 0) {
      place_t key = at;
      level->pairs--;
      if (at == end) return false;
      if (is_table(*at)) {
        level->objects = 1; /* first this table, then what it is the key of */
        keys->unnumbered = true;
      } else {
        at = skip_key(keys, at, end);
        if (!at || !(gather ? gather_key(keys, level, key, at) : glance(keys, level, key, at))) return false;
      }
    } else {
      if (level == levels) return at == end;
      level--;
      continue;
    }
    if (at == end) return false;
    if (!is_table(*at)) {
      keys->shape = shape_with(keys->shape, kind_of(*at));
      at = skip_scalar(at, end);
    } else {
      if (level == &levels[MAX_DEPTH]) return false;
      (++level)->number = ++tables;
      at = open_table(at, end, level);
      keys->shape = shape_with(keys->shape, level->pairs << 16 ^ level->end << 1 ^ level->first);
    }
    if (!at) return false;
  }
}

bool check_serialized(const keys_t *numbered, const char *bytes, size_t length, uint32_t *shape) {
  key_set_t keys = {.bytes = (place_t)bytes, .numbered = numbered && numbered->count > 0 ? numbered : NULL};
  if (!walk(&keys, length, false)) return false;
  if (shape) *shape = keys.count == 0 || keys.unnumbered ? 0 : keys.shape;
  if (!keys.alike) return true;
  for (keys.size = 16; keys.size < 2 * (size_t)keys.count; keys.size *= 2) {}
  keys.places = calloc(keys.size, sizeof *keys.places);
  bool good = keys.places && walk(&keys, length, true);
  free(keys.places);
  return good;
}

bool check_has_pointer(const char *bytes, size_t length) {
  place_t at = (place_t)bytes, end = at + length;
  level_t ignored;
  while (at && at < end) /* what a table holds follows its head, so the order is all there is to it */
    if (*at == TAG_KEY) at += 2;
    else at = is_table(*at) ? open_table(at, end, &ignored) : skip_scalar(at, end);
  return !at;
}
