/* json/keys.h: keys of objects that come again and again. Their strings are kept, so that none of them is hashed and
 * looked up anew; and of each it is known which came behind it, so that the next key is mostly compared with one text. */
#ifndef LRUN_JSON_KEYS_H
#define LRUN_JSON_KEYS_H

#include <endian.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
  JSON_KEYS = 256,  /* places; as many as a byte counts */
  JSON_KEY_MAX = 24 /* bytes of a key that has one, with its closing quote */
};

/* What an object is thought to be, before it comes. */
typedef struct {
  uint8_t place; /* of its first key */
  uint8_t shape; /* its number (json/shapes.h); 0: none */
} json_guess_t;

typedef struct {
  uint8_t length; /* of the text with its closing quote; 0: nothing is here */
  uint8_t
      credit; /* 0: its string is not kept; else how often other keys must want the place before they get it */
  uint8_t next;        /* the place of the key that came behind it */
  json_guess_t inside; /* of its value */
  char text[JSON_KEY_MAX];
} json_key_t;

typedef struct {
  json_key_t places[JSON_KEYS];
  json_guess_t first; /* of a text */
} json_keys_t;

/* Whether two texts begin with the same bytes; it looks at whole words of both, and most keys are one. */
static inline bool same_words(const unsigned char *a, const char *b, size_t length) {
  uint64_t of_a, of_b;
  for (;; a += sizeof of_a, b += sizeof of_b, length -= sizeof of_a) {
    memcpy(&of_a, a, sizeof of_a);
    memcpy(&of_b, b, sizeof of_b);
    if (length <= sizeof of_a) return le64toh(of_a ^ of_b) << (64 - 8 * length) == 0;
    if (of_a != of_b) return false;
  }
}

/* The strings that are kept are in a table at the stack's index `strings`, at place + 1. */

/* Pushes the key whose bytes begin at `text`, behind its opening quote, if it is the one at `place`, and returns its
 * length with the closing quote; else 0. */
size_t json_keys_guess(const json_keys_t *keys, lua_State *L, int strings, int place,
                       const unsigned char *text, const unsigned char *end);

/* Pushes a key, which needs no escapes and whose closing quote follows it. Returns its place, or -1: it is too long. */
int json_keys_push(json_keys_t *keys, lua_State *L, int strings, const unsigned char *text, size_t length);

#endif
