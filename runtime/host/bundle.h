/* host/bundle.h: what `require` finds inside the binary: lualib as LuaJIT bytecode, and the C modules. */
#ifndef LRUN_HOST_BUNDLE_H
#define LRUN_HOST_BUNDLE_H

#include <lua.h>
#include <stddef.h>

typedef struct {
  const char *name; /* as `require` is given it, such as "lrun.cluster.primary" */
  const unsigned char *bytes;
  size_t length;
} bundle_module_t;

/* Generated from lualib/ at build time; ends with a null name. */
extern const bundle_module_t bundle_lua_modules[];

/* Puts a loader for every bundled module into package.preload; nothing is loaded before it is required. */
void bundle_register(lua_State *L);

#endif
