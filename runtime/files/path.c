/* files/path.c: see files/path.h. */
#include "files/path.h"

#include "files/attempt.h"
#include "host/errors.h"

#include <lauxlib.h>
#include <string.h>

const char *files_path(lua_State *L, int index) {
  size_t length;
  const char *path = luaL_checklstring(L, index, &length);
  if (memchr(path, '\0', length)) luaL_error(L, "a path has a NUL");
  return path;
}

int files_unanswered(lua_State *L, int rc) {
  if (rc != ATTEMPT_POOL) return errors_code(L, rc);
  lua_pushboolean(L, 0);
  return 1;
}
