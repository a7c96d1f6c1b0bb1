/* text.h: messages as JSON text, the way they travel to and from Node.
 * The module `json` is for users and refuses what JSON cannot say exactly; here, as JSON.stringify does it,
 * as much as possible gets through, and speed counts. */
#ifndef LRUN_TEXT_H
#define LRUN_TEXT_H

#include <lua.h>
#include <stddef.h>

enum { TEXT_MAX_DEPTH = 1000 };

/* Pushes the value that the text holds, and returns NULL; or pushes nothing and says what is wrong. Throws
 * only for want of memory. `null` is nil in an object, and a light userdata NULL elsewhere. */
const char *text_decode(lua_State *L, const char *text, size_t length);

/* Encodes the value at `index` into a buffer that belongs to the Lua state and stays valid until the next
 * call. Returns NULL, or what is wrong with the value. */
const char *text_encode(lua_State *L, int index, const char **text, size_t *length);

#endif
