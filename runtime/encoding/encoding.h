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
/* Up to 3 characters a byte. */
size_t percent_encode(char *out, const unsigned char *in, size_t len, const percent_set_t *plain);
/* Never longer than the text. A `%` that no two digits follow stays as it is; in a form `+` is a space. */
size_t percent_decode(char *out, const unsigned char *in, size_t len, bool form);

#endif
