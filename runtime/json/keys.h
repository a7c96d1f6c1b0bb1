/* json/keys.h: keys of objects that come again and again. Their strings are kept, so that none of them is hashed and
 * looked up anew; and of each it is known which came behind it, so that the next key is mostly compared with one text. */
#ifndef LRUN_JSON_KEYS_H
#define LRUN_JSON_KEYS_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

enum {
  JSON_KEYS = 256,  /* places; as many as a byte counts */
  JSON_KEY_MAX = 24 /* bytes of a key that has one, with its closing quote */
};

typedef struct {
  uint8_t length; /* of the text with its closing quote; 0: nothing is here */
  uint8_t
      credit; /* 0: its string is not kept; else how often other keys must want the place before they get it */
  uint8_t next;   /* the place of the key that came behind it */
  uint8_t inside; /* the place of the first key of an object that was its value */
  char text[JSON_KEY_MAX];
} json_key_t;

typedef struct {
  json_key_t places[JSON_KEYS];
  uint8_t first; /* the place of the first key of a text */
} json_keys_t;

/* The strings that are kept are in a table at the stack's index `strings`, at place + 1. */

/* Pushes the key whose bytes begin at `text`, behind its opening quote, if it is the one at `place`, and returns its
 * length with the closing quote; else 0. */
size_t json_keys_guess(const json_keys_t *keys, lua_State *L, int strings, int place,
                       const unsigned char *text, const unsigned char *end);

/* Pushes a key, which needs no escapes and whose closing quote follows it. Returns its place, or -1: it is too long. */
int json_keys_push(json_keys_t *keys, lua_State *L, int strings, const unsigned char *text, size_t length);

#endif
