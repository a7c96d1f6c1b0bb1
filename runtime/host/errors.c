/* host/errors.c: turns negative libuv codes and argument errors into Lua error objects.
 * The objects themselves are made by lualib/errors.lua, so that they look the same wherever they come from;
 * this file calls its constructors. It also is the module `lrun.core.errno`, which tells that library the names
 * and texts of codes. */
#include "host/errors.h"

#include "host/bundle.h"
#include "host/modules.h"
#include <lauxlib.h>
#include <stdarg.h>
#include <string.h>
#include <uv.h>
#ifdef LRUN_SANITIZE
#include <sanitizer/asan_interface.h>
#endif

typedef struct {
  const char *name;
  int code;
} errno_name_t;

static const errno_name_t errno_names[] = {
#define NAME(name, _) {#name, UV_##name},
    UV_ERRNO_MAP(NAME)
#undef NAME
};

static int code_of_name(const char *name) {
  for (size_t i = 0; i < sizeof errno_names / sizeof *errno_names; i++)
    if (strcmp(errno_names[i].name, name) == 0) return errno_names[i].code;
  return UV_UNKNOWN;
}

/* describe(code or name) → name, text, errno (a negative integer) */
static int l_describe(lua_State *L) {
  int code = lua_type(L, 1) == LUA_TNUMBER ? (int)lua_tointeger(L, 1) : code_of_name(luaL_checkstring(L, 1));
  char name[64], text[256];
  if (code > 0) code = -code;
  if (lua_type(L, 1) == LUA_TSTRING) lua_pushvalue(L, 1);
  else lua_pushstring(L, uv_err_name_r(code, name, sizeof name));
  lua_pushstring(L, uv_strerror_r(code, text, sizeof text));
  lua_pushinteger(L, code);
  return 3;
}

int luaopen_lrun_errno(lua_State *L) {
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_describe);
  lua_setfield(L, -2, "describe");
  return 1;
}

static void push_constructor(lua_State *L, const char *name) {
  luaL_checkstack(L, 6, "errors");
  bundle_require(L, "errors");
  lua_getfield(L, -1, name);
  lua_remove(L, -2);
}

void errors_push(lua_State *L, int rc, const char *syscall) {
  push_constructor(L, "system");
  lua_pushinteger(L, rc);
  lua_pushstring(L, syscall);
  lua_call(L, 2, 1);
}

int errors_result(lua_State *L, int rc, const char *syscall) {
  if (rc >= 0) {
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_pushnil(L);
  errors_push(L, rc, syscall);
  return 2;
}

int errors_code(lua_State *L, int rc) {
  char name[64];
  if (rc >= 0) {
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_pushnil(L);
  lua_pushstring(L, uv_err_name_r(rc, name, sizeof name));
  return 2;
}

/* Throws what is on top. The sanitizer is told, for it cannot see that the frames from here to the catcher end. */
__attribute__((noreturn)) static void raise_top(lua_State *L) {
#ifdef LRUN_SANITIZE
  __asan_handle_no_return();
#endif
  lua_error(L);
  __builtin_unreachable();
}

int errors_throw(lua_State *L, const char *code, const char *format, ...) {
  va_list arguments;
  push_constructor(L, "coded");
  lua_pushstring(L, code);
  va_start(arguments, format);
  lua_pushvfstring(L, format, arguments);
  va_end(arguments);
  lua_call(L, 2, 1);
  raise_top(L);
}

int errors_type(lua_State *L, const char *name, const char *expected, int index) {
  if (index < 0) index = lua_gettop(L) + index + 1;
  if (index > lua_gettop(L)) lua_settop(L, index); /* not given is nil */
  push_constructor(L, "argType");
  lua_pushstring(L, name);
  lua_pushstring(L, expected);
  lua_pushvalue(L, index);
  lua_call(L, 3, 1);
  raise_top(L);
}
