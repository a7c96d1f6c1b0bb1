/* ipc/check.h: looks at bytes in LuaJIT's string.buffer serialization before anything is made of them. */
#ifndef LRUN_IPC_CHECK_H
#define LRUN_IPC_CHECK_H

#include "ipc/keys.h"
#include <stdbool.h>
#include <stddef.h>

/* Whether the bytes are one complete serialized value that string.buffer decodes, with a dictionary of `keys` (NULL:
 * with none): without a metatable or a pointer, with tables that are no larger than the bytes can fill and whose keys are
 * not nil, NaN, or there twice. What passes makes string.buffer allocate in proportion to `length`. */
bool check_serialized(const keys_t *keys, const char *bytes, size_t length);

/* Whether bytes that string.buffer has just made hold a light userdata other than NULL, which would mean
 * nothing elsewhere. */
bool check_has_pointer(const char *bytes, size_t length);

#endif
