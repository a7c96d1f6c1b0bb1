/* host/bundle.c: owns the modules inside the binary and the `require` by which they find one another.
 *
 * A Lua module is bytecode that is read when it is first required; its chunk is named `lrun:room/name.lua`, which
 * is how tracebacks tell the runtime's frames from the user's. It gets the runtime's own `require` as its argument
 * (the build tool puts `local require = ...` before its first line), which looks here, then among LuaJIT's own
 * libraries, and nowhere else: not at package.loaded, package.preload or files. What a program's `require` finds
 * here is for lrun/host/modules.lua to say, which is given the module `lrun.core.bundle`. */
#include "host/bundle.h"

#include "host/hooks.h"
#include "host/modules.h"
#include <lauxlib.h>
#include <luajit.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Those that each start asks for first. */
static const luaL_Reg bundle_c_modules[] = {
    {"luv", luaopen_lrun_luv},
    {"lrun.core.vm", luaopen_lrun_vm},
    {"lrun.core.first", luaopen_lrun_first},
    {"lrun.core.system", luaopen_lrun_system},
    {"lrun.core.output", luaopen_lrun_output},
    {"lrun.core.errno", luaopen_lrun_errno},
    {"lrun.core.bundle", luaopen_lrun_bundle},
    {"cjson", luaopen_cjson},
    {"cjson.safe", luaopen_cjson_safe},
    {"lrun.core.channel", luaopen_lrun_channel},
    {"lrun.core.crypto", luaopen_lrun_crypto},
    {"lrun.core.encoding", luaopen_lrun_encoding},
    {"lrun.core.files", luaopen_lrun_files},
    {"lrun.core.handoff", luaopen_lrun_handoff},
    {"lrun.core.handlewrite", luaopen_lrun_handlewrite},
    {"lrun.core.http", luaopen_lrun_http},
    {"lrun.core.supervise", luaopen_lrun_supervise},
    {"lrun.core.interrupt", luaopen_lrun_interrupt},
    {"lrun.core.json", luaopen_lrun_json},
    {"lrun.core.orphan", luaopen_lrun_orphan},
    {"lrun.core.probe", luaopen_lrun_probe},
    {"lrun.core.redis", luaopen_lrun_redis},
    {"lrun.core.sendfile", luaopen_lrun_sendfile},
    {"lrun.core.shared", luaopen_lrun_shared},
    {"lrun.core.sockets", luaopen_lrun_sockets},
    {"lrun.core.spawn", luaopen_lrun_spawn},
    {"lrun.core.terminal", luaopen_lrun_terminal},
    {"lrun.core.unix", luaopen_lrun_unix},
    {"lrun.core.timing", luaopen_lrun_timing},
    {"lrun.core.tls", luaopen_lrun_tls},
    {"lrun.core.wait", luaopen_lrun_wait},
    {"lrun.core.websocket", luaopen_lrun_websocket},
    {"lrun.core.zlib", luaopen_lrun_zlib},
};
enum { C_COUNT = sizeof bundle_c_modules / sizeof *bundle_c_modules };

static const char *name_of(const bundle_module_t *module) { return bundle_lua_names + module->name; }

static int compare_names(const void *name, const void *module) { return strcmp(name, name_of(module)); }

static const bundle_module_t *find_lua(const char *name) {
  return bsearch(name, bundle_lua_modules, bundle_lua_count, sizeof *bundle_lua_modules, compare_names);
}

static lua_CFunction find_c(const char *name) {
  if (strncmp(name, "lrun.", 5) == 0 && strncmp(name + 5, "core.", 5) != 0) return NULL; /* Lua's */
  for (size_t i = 0; i < C_COUNT; i++)
    if (strcmp(bundle_c_modules[i].name, name) == 0) return bundle_c_modules[i].func;
  return NULL;
}

static bool is_bundled(const char *name) { return find_lua(name) != NULL || find_c(name) != NULL; }

static int load_chunk(lua_State *L, const bundle_module_t *module) {
  return luaL_loadbuffer(L, (const char *)bundle_lua_bytes + module->bytes, module->length, name_of(module));
}

/* Upvalues of load_module, which they outlive: both are made by bundle_init. */
enum { LOADED = 1, NATIVE = 2 };

/* Pushes the function that makes the module. Of a Lua module the chunk: it runs once, its loops are not worth
 * compiling. */
static void push_maker(lua_State *L, const char *name) {
  lua_CFunction open = find_c(name);
  const bundle_module_t *module = open ? NULL : find_lua(name);
  if (module) {
    if (load_chunk(L, module) != 0) lua_error(L);
    luaJIT_setmode(L, -1, LUAJIT_MODE_FUNC | LUAJIT_MODE_OFF);
    return;
  }
  if (open) lua_pushcfunction(L, open);
  else lua_getfield(L, lua_upvalueindex(NATIVE), name);
  if (lua_isnil(L, -1)) luaL_error(L, "lrun has no module '%s'", name);
}

/* load(name): makes a module that is not there yet, and keeps it. A Lua module is given `require`, one of C its
 * name. */
static int load_module(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  lua_settop(L, 1);
  push_maker(L, name);
  if (lua_iscfunction(L, -1)) lua_pushvalue(L, 1);
  else lua_rawgeti(L, LUA_REGISTRYINDEX, SLOT_REQUIRE);
  lua_call(L, 1, 1);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, -2);
  lua_rawset(L, lua_upvalueindex(LOADED));
  return 1;
}

/* A library that LuaJIT opens when it is first asked for is opened once, for the runtime and the program. */
static int l_native(lua_State *L) {
  bundle_require(L, lua_tostring(L, lua_upvalueindex(1)));
  return 1;
}

/* Pushes a table of what LuaJIT opens on demand (ffi, string.buffer, …), and puts l_native in its place. */
static void take_native(lua_State *L) {
  lua_newtable(L);
  int native = lua_gettop(L);
  lua_getfield(L, LUA_REGISTRYINDEX, "_PRELOAD");
  int preload = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, preload) != 0; lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, native);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, l_native, 1);
    lua_rawset(L, preload);
  }
  lua_settop(L, native);
}

/* Pushes a table of what LuaJIT has opened, but for what a module of ours stands for (os). */
static void take_loaded(lua_State *L) {
  lua_newtable(L);
  int loaded = lua_gettop(L);
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  for (lua_pushnil(L); lua_next(L, loaded + 1) != 0; lua_pop(L, 1)) {
    if (find_lua(lua_tostring(L, -2))) continue;
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, loaded);
  }
  lua_settop(L, loaded);
}

/* `require` itself is Lua, so that compiled code may call it. */
void bundle_init(lua_State *L) {
  const bundle_module_t *module = find_lua("lrun.host.require");
  if (!module || load_chunk(L, module) != 0) abort();
  take_loaded(L);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "lrun.core.loaded"); /* the table itself, for whoever asks whether a module is there */
  lua_pushvalue(L, -1);
  take_native(L);
  lua_pushcclosure(L, load_module, 2);
  lua_insert(L, -2);
  lua_call(L, 2, 1);
  lua_rawseti(L, LUA_REGISTRYINDEX, SLOT_REQUIRE);
}

void bundle_require(lua_State *L, const char *name) {
  luaL_checkstack(L, 4, "require");
  lua_rawgeti(L, LUA_REGISTRYINDEX, SLOT_REQUIRE);
  lua_pushstring(L, name);
  lua_call(L, 1, 1);
}

/* The module `lrun.core.bundle` ---------------------------------------------------------------------------- */

/* has(name) → whether the binary holds a module of this name */
static int l_has(lua_State *L) {
  lua_pushboolean(L, is_bundled(luaL_checkstring(L, 1)));
  return 1;
}

/* names() → the names that programs may use, sorted: those of lualib's top folder */
static int l_names(lua_State *L) {
  lua_newtable(L);
  for (size_t i = 0, count = 0; i < bundle_lua_count; i++) {
    const char *name = name_of(&bundle_lua_modules[i]);
    if (strchr(name, '.')) continue;
    lua_pushstring(L, name);
    lua_rawseti(L, -2, (int)++count);
  }
  return 1;
}

int luaopen_lrun_bundle(lua_State *L) {
  static const luaL_Reg functions[] = {{"has", l_has}, {"names", l_names}, {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  return 1;
}
