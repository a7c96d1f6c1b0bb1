/* ipc/check.h: looks at bytes in LuaJIT's string.buffer serialization before anything is made of them. */
#ifndef LRUN_IPC_CHECK_H
#define LRUN_IPC_CHECK_H

#include "ipc/keys.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether the bytes are one complete serialized value that string.buffer decodes, with a dictionary of `keys` (NULL:
 * with none): without a metatable or a pointer, with tables that are no larger than the bytes can fill and whose keys are
 * not nil, NaN, or there twice. What passes makes string.buffer allocate in proportion to `length`.
 *
 * `*shape`, unless that is NULL, tells bodies apart that have other tables, other keys or other kinds of values, with few
 * exceptions; it is 0 when a key has no number or there is no key. */
bool check_serialized(const keys_t *keys, const char *bytes, size_t length, uint32_t *shape);

/* Whether bytes that string.buffer has just made hold a light userdata other than NULL, which would mean
 * nothing elsewhere. */
bool check_has_pointer(const char *bytes, size_t length);

#endif
