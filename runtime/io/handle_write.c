/* io/handle_write.c: the module `lrun.core.handlewrite`: what is left of strings to a luv handle, behind what was written to it.
 *
 * luv writes whole strings: what try_write left of one would have to be a string of its own, a copy of what may be megabytes.
 * Here libuv writes from the middle of it, and the registry holds it meanwhile, with the handle and the function to call
 * (io/under_way.h). */
#include "host/callback.h"
#include "host/errors.h"
#include "host/modules.h"
#include "io/handle_stream.h"
#include "io/under_way.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>

typedef struct {
  uv_write_t req;
  under_way_t it; /* holds { handle, data, function } */
} rest_t;

enum { HANDLE = 1, DATA, DONE };

static void on_written(uv_write_t *req, int status) {
  rest_t *rest = (rest_t *)req;
  lua_State *co = rest->it.L != NULL ? callback_begin(rest->it.L) : NULL;
  if (co != NULL) {
    lua_rawgeti(co, LUA_REGISTRYINDEX, rest->it.ref);
    lua_rawgeti(co, -1, DONE);
    lua_remove(co, 1);
    if (status < 0) lua_pushstring(co, uv_err_name(status));
    else lua_pushnil(co);
  }
  under_way_end(&rest->it);
  free(rest);
  if (co != NULL) callback_run(co, 1);
}

/* The strings at `index`, one or a list, from their byte `from` on. */
static unsigned parts_of(lua_State *L, int index, size_t from, uv_buf_t *parts, unsigned count) {
  unsigned n = 0;
  for (unsigned i = 1; i <= count; i++) {
    bool listed = lua_istable(L, index);
    if (listed) lua_rawgeti(L, index, (int)i);
    size_t len;
    const char *bytes = lua_tolstring(L, listed ? -1 : index, &len);
    if (listed) lua_pop(L, 1);
    size_t skipped = from < len ? from : len;
    from -= skipped;
    if (skipped < len) parts[n++] = (uv_buf_t){.base = (char *)bytes + skipped, .len = len - skipped};
  }
  return n;
}

/* Pushes what is to be kept from being collected: what is written from, and what is to be called. */
static void push_held(lua_State *L) {
  lua_createtable(L, DONE, 0);
  for (int i = HANDLE; i <= DONE; i++) {
    lua_pushvalue(L, i);
    lua_rawseti(L, -2, i);
  }
}

static int write_rest(lua_State *L, uv_stream_t *handle, size_t from) {
  bool listed = lua_istable(L, DATA);
  unsigned count = listed ? (unsigned)lua_objlen(L, DATA) : 1;
  uv_buf_t one, *parts = listed ? malloc(count * sizeof *parts) : &one;
  rest_t *rest = malloc(sizeof *rest);
  int rc = rest != NULL && parts != NULL ? 0 : UV_ENOMEM;
  if (rc == 0) {
    unsigned n = parts_of(L, DATA, from, parts, count);
    push_held(L);
    under_way_begin(L, &rest->it);
    rc = uv_write(&rest->req, handle, parts, n, on_written);
    if (rc < 0) under_way_end(&rest->it);
  }
  if (rc < 0) free(rest);
  if (listed) free(parts);
  return rc;
}

/* rest(handle, string or list of strings, f, from) → true: f is called when all behind the first `from` bytes is written, with a code
 * or nil; nil and the code; false: the handle is none of the kernel's. */
static int l_rest(lua_State *L) {
  luaL_checktype(L, DONE, LUA_TFUNCTION);
  size_t from = (size_t)luaL_checknumber(L, DONE + 1);
  uv_stream_t *handle = handle_stream(L, HANDLE);
  if (handle == NULL) {
    lua_pushboolean(L, 0);
    return 1;
  }
  int rc = uv_is_closing((uv_handle_t *)handle) ? UV_ECANCELED : write_rest(L, handle, from);
  if (rc < 0) return errors_code(L, rc);
  lua_pushboolean(L, 1);
  return 1;
}

int luaopen_lrun_handlewrite(lua_State *L) {
  static const luaL_Reg functions[] = {{"rest", l_rest}, {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  return 1;
}
