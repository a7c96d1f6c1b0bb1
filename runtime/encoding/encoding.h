/* encoding/encoding.h: bytes as text and back: base64, hexadecimal digits, percent-encoding. Pure C; whoever
 * calls gives room for the result. */
#ifndef LRUN_ENCODING_ENCODING_H
#define LRUN_ENCODING_ENCODING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The room needed: 4 characters for every 3 bytes that were begun. `for_url` is the other alphabet, without
 * padding. Returns the length of the text. */
size_t base64_encode(char *out, const unsigned char *in, size_t len, bool for_url);
/* Takes both alphabets, white space, and padding that is missing. Returns 0, and how many bytes were written
 * (3 for every 4 characters at most); or the place, from 1, of what is wrong (len + 1: the end). */
size_t base64_decode(char *out, size_t *written, const unsigned char *in, size_t len);

/* Two digits a byte, lower case. */
size_t hex_encode(char *out, const unsigned char *in, size_t len);
/* Half as many bytes as digits. Returns 0, or the place, from 1, of what is wrong. */
size_t hex_decode(char *out, const unsigned char *in, size_t len);

/* What a digit of either case stands for; -1 for none. */
int hex_digit(unsigned char c);

/* The bytes that stand for themselves. */
typedef struct {
  uint32_t bits[8];
} percent_set_t;
/* Whether there is nothing to encode. */
bool percent_plain(const unsigned char *in, size_t len, const percent_set_t *plain);
/* Up to 3 characters a byte. */
size_t percent_encode(char *out, const unsigned char *in, size_t len, const percent_set_t *plain);
/* Never longer than the text. A `%` that no two digits follow stays as it is; in a form `+` is a space. */
size_t percent_decode(char *out, const unsigned char *in, size_t len, bool form);

/* A part of a text; `at` is NULL: it has none. */
typedef struct {
  const unsigned char *at;
  size_t length;
} url_piece_t;

/* Of the schemes http, https, ws and wss. */
typedef struct {
  url_piece_t scheme, username, password, host;
  int port;         /* -1: the scheme's own */
  url_piece_t path; /* from its first slash on; "" is the same as "/" */
  url_piece_t query, fragment;
} url_parts_t;

/* The bytes that stand for themselves in each part. */
typedef struct {
  const percent_set_t *userinfo, *path, *query, *fragment;
} url_sets_t;

/* The parts of a URL; false: it is none, or not in its normal form. */
bool url_parts(url_parts_t *url, const unsigned char *text, size_t length, const url_sets_t *sets);
/* The same of a reference that begins with a slash: path, query and fragment. */
bool url_place(url_parts_t *url, const unsigned char *text, size_t length, const url_sets_t *sets);

#endif
