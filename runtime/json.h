/* json.h: what JSON text must look like, for both ways. */
#ifndef LRUN_JSON_H
#define LRUN_JSON_H

#include <stddef.h>

#define JSON_MAX_DEPTH 1000 /* arrays and objects inside one another */

typedef struct {
  size_t offset;      /* where it is wrong, from 0 */
  const char *reason; /* a static text */
} json_fault_t;

/* Checks that the text is one JSON value as RFC 8259 has it, in UTF-8. Returns 0, or -1 with the fault filled
 * in. */
int json_check(const char *text, size_t length, json_fault_t *fault);

/* The length (2 to 4) of the UTF-8 sequence at `bytes` that starts with a byte above 127; 0 when it is none.
 */
size_t json_utf8_sequence(const unsigned char *bytes, size_t left);

#endif
