/* json/number.h: a number as JSON text. */
#ifndef LRUN_JSON_NUMBER_H
#define LRUN_JSON_NUMBER_H

#include <stddef.h>

enum { JSON_NUMBER_SIZE = 48 }; /* more than any text below has: bytes behind it are written over */

/* Writes the shortest text that reads as the number, which is finite; returns its length. 0 for both zeros. */
size_t json_put_number(char *text, double number);

#endif
