/* host/bundle.h: the modules inside the binary: lualib as LuaJIT bytecode, and the C modules. */
#ifndef LRUN_HOST_BUNDLE_H
#define LRUN_HOST_BUNDLE_H

#include <lua.h>
#include <stddef.h>

typedef struct {
  const char *name; /* as `require` is given it, such as "lrun.cluster.primary" */
  const unsigned char *bytes;
  size_t length;
} bundle_module_t;

/* Generated from lualib/ at build time, sorted by name. */
extern const bundle_module_t bundle_lua_modules[];
extern const size_t bundle_lua_count;

/* Makes the runtime's own `require`; nothing is loaded before it is required. */
void bundle_init(lua_State *L);

/* Pushes a module of the runtime, whatever a program has put into package.loaded or beside its script. Throws
 * what the module throws while it loads. */
void bundle_require(lua_State *L, const char *name);

#endif
