/* json/number.h: numbers and their JSON text, both ways. */
#ifndef LRUN_JSON_NUMBER_H
#define LRUN_JSON_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JSON_NUMBER_SIZE = 48 }; /* more than any text below has: bytes behind it are written over */

/* Writes the shortest text that reads as the number, which is finite; returns its length. 0 for both zeros. */
size_t json_put_number(char *text, double number);

/* Reads the number that begins at `*at`, which becomes where it ends: the nearest double. Returns NULL; or why it is none,
 * and `*at` is where. */
const char *json_read_number(const unsigned char **at, const unsigned char *end, double *number);

extern const char json_no_memory[]; /* why nothing could be read */

/* The double nearest to digits × 10^exponent. False: it takes more than 128 bits of the power to tell, or the double is none
 * of the normal ones. */
bool json_nearest(uint64_t digits, int exponent, double *number);

#endif
