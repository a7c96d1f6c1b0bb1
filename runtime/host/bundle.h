/* host/bundle.h: the modules inside the binary: lualib as LuaJIT bytecode, and the C modules. */
#ifndef LRUN_HOST_BUNDLE_H
#define LRUN_HOST_BUNDLE_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

/* Offsets, not pointers: each of those would be one more thing to relocate whenever lrun starts. */
typedef struct {
  uint32_t name; /* in bundle_lua_names: as `require` is given it, such as "lrun.cluster.primary" */
  uint32_t bytes, length;
} bundle_module_t;

/* Generated from lualib/ at build time, sorted by name. */
extern const bundle_module_t bundle_lua_modules[];
extern const size_t bundle_lua_count;
extern const char bundle_lua_names[];
extern const unsigned char bundle_lua_bytes[];

/* Makes the runtime's own `require`; nothing is loaded before it is required. */
void bundle_init(lua_State *L);

/* Pushes a module of the runtime, whatever a program has put into package.loaded or beside its script. Throws
 * what the module throws while it loads. */
void bundle_require(lua_State *L, const char *name);

#endif
