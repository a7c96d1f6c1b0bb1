/* codec.c: walks over serialized bytes without making anything of them. The codec itself is LuaJIT's
 * string.buffer, called by lualib/lrun/codec.lua. */
#include "codec.h"

#include <stdint.h>
#include <string.h>

enum { MAX_DEPTH = 100 };

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
  TAG_INT64 = 0x10,
  TAG_UINT64 = 0x11,
  TAG_COMPLEX = 0x12,
  TAG_STRING = 0x20
};

typedef struct {
  const unsigned char *at, *end;
} cursor_t;

static bool read_size(cursor_t *cursor, size_t *size) {
  size_t left = (size_t)(cursor->end - cursor->at);
  const unsigned char *b = cursor->at;
  if (left < 1) return false;
  if (b[0] < 0xe0) {
    *size = b[0];
    cursor->at += 1;
  } else if (b[0] < 0xff) {
    if (left < 2) return false;
    *size = (size_t)(b[0] & 0x1f) * 256 + b[1] + 0xe0;
    cursor->at += 2;
  } else {
    if (left < 5) return false;
    *size = b[1] | (size_t)b[2] << 8 | (size_t)b[3] << 16 | (size_t)b[4] << 24;
    cursor->at += 5;
  }
  return true;
}

static inline bool skip(cursor_t *cursor, size_t length) {
  if ((size_t)(cursor->end - cursor->at) < length) return false;
  cursor->at += length;
  return true;
}

/* Objects still to come in a table that is open: first those of its array, then keys and values in turn. */
typedef struct {
  uint64_t array, hash;
} level_t;

/* The sizes of a table's parts: how many objects follow its head. */
static bool read_table(cursor_t *cursor, unsigned tag, level_t *level) {
  unsigned parts = tag - TAG_TABLE;
  size_t array = 0, hash = 0;
  if (parts >= 2 && !read_size(cursor, &array)) return false;
  if ((parts & 1) && !read_size(cursor, &hash)) return false;
  if (parts >= 4) {
    if (array == 0) return false;
    array--;
  }
  *level = (level_t){array, 2 * (uint64_t)hash};
  return true;
}

static bool fits(const cursor_t *cursor, level_t level) {
  uint64_t left = (uint64_t)(cursor->end - cursor->at); /* an object is a byte or more */
  return level.array + level.hash <= left;
}

/* No table has these keys. string.buffer would throw for them as well, but in a way that brings compiled code
 * down.
 */
static bool is_bad_key(const cursor_t *cursor, unsigned tag) {
  if (tag == TAG_NIL) return true;
  if (tag != TAG_NUMBER || cursor->end - cursor->at < 8) return false;
  double key;
  memcpy(&key, cursor->at, sizeof key);
  return key != key;
}

/* What follows the tag of an object that is neither a string nor a table. */
static bool skip_scalar(cursor_t *cursor, unsigned tag) {
  switch (tag) {
  case TAG_NIL:
  case TAG_FALSE:
  case TAG_TRUE:
  case TAG_NULL: return true;
  case TAG_INT: return skip(cursor, 4);
  case TAG_NUMBER:
  case TAG_INT64:
  case TAG_UINT64: return skip(cursor, 8);
  case TAG_COMPLEX: return skip(cursor, 16);
  default: return false;
  }
}

static inline bool skip_string(cursor_t *cursor, unsigned first) {
  size_t size;
  if (first < 0xe0) return skip(cursor, first - TAG_STRING + 1); /* a short one: what there is most of */
  return read_size(cursor, &size) && skip(cursor, size - TAG_STRING);
}

bool codec_check(const char *bytes, size_t length) {
  cursor_t cursor = {(const unsigned char *)bytes, (const unsigned char *)bytes + length};
  level_t outer[MAX_DEPTH], level = {1, 0};
  int depth = 0;
  for (;;) {
    while (level.array + level.hash == 0) {
      if (depth == 0) return cursor.at == cursor.end;
      level = outer[--depth];
    }
    bool is_key = level.array == 0 && level.hash % 2 == 0;
    if (level.array > 0) level.array--;
    else level.hash--;
    if (cursor.at == cursor.end) return false;
    unsigned tag = *cursor.at;
    if (tag >= TAG_STRING) {
      if (!skip_string(&cursor, tag)) return false;
      continue;
    }
    cursor.at++;
    if (is_key && is_bad_key(&cursor, tag)) return false;
    if (tag < TAG_TABLE || tag > TAG_TABLE_LAST) {
      if (!skip_scalar(&cursor, tag)) return false;
      continue;
    }
    if (tag == TAG_TABLE) continue;
    if (depth == MAX_DEPTH) return false;
    outer[depth++] = level;
    if (!read_table(&cursor, tag, &level) || !fits(&cursor, level)) return false;
  }
}

bool codec_has_pointer(const char *bytes, size_t length) {
  cursor_t cursor = {(const unsigned char *)bytes, (const unsigned char *)bytes + length};
  level_t ignored;
  while (cursor.at <
         cursor.end) { /* what a table holds follows its head, so the order is all there is to it */
    unsigned tag = *cursor.at;
    bool known;
    if (tag >= TAG_STRING) {
      known = skip_string(&cursor, tag);
    } else {
      cursor.at++;
      bool table = tag >= TAG_TABLE && tag <= TAG_TABLE_LAST;
      known = table ? read_table(&cursor, tag, &ignored) : skip_scalar(&cursor, tag);
    }
    if (!known) return true;
  }
  return false;
}
