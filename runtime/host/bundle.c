/* host/bundle.c: registers the modules inside the binary as preloads. A Lua module is bytecode that is read when
 * it is first required; its chunk is named `lrun:room/name.lua`, which is how tracebacks tell the runtime's frames
 * from the user's. */
#include "host/bundle.h"

#include "host/modules.h"
#include <lauxlib.h>
#include <luajit.h>

static const luaL_Reg bundle_c_modules[] = {
    {"luv", luaopen_lrun_luv},
    {"cjson", luaopen_cjson},
    {"cjson.safe", luaopen_cjson_safe},
    {"lrun.core.channel", luaopen_lrun_channel},
    {"lrun.core.errno", luaopen_lrun_errno},
    {"lrun.core.handoff", luaopen_lrun_handoff},
    {"lrun.core.http", luaopen_lrun_http},
    {"lrun.core.system", luaopen_lrun_system},
    {"lrun.core.interrupt", luaopen_lrun_interrupt},
    {"lrun.core.json", luaopen_lrun_json},
    {"lrun.core.orphan", luaopen_lrun_orphan},
    {"lrun.core.script_input", luaopen_lrun_script_input},
    {"lrun.core.sockets", luaopen_lrun_sockets},
    {"lrun.core.spawn", luaopen_lrun_spawn},
    {"lrun.core.terminal", luaopen_lrun_terminal},
    {"lrun.core.vm", luaopen_lrun_vm},
    {"lrun.core.wait", luaopen_lrun_wait},
    {NULL, NULL},
};

/* The loader of one Lua module: its upvalue points to the module. Gets the name, returns what the chunk
 * returns. The chunk runs once: its loops are not worth compiling. */
static int load_bundled(lua_State *L) {
  const bundle_module_t *module = lua_touserdata(L, lua_upvalueindex(1));
  if (luaL_loadbuffer(L, (const char *)module->bytes, module->length, module->name) != 0) return lua_error(L);
  luaJIT_setmode(L, -1, LUAJIT_MODE_FUNC | LUAJIT_MODE_OFF);
  lua_pushstring(L, module->name);
  lua_call(L, 1, 1);
  return 1;
}

void bundle_register(lua_State *L) {
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "preload");
  for (const bundle_module_t *module = bundle_lua_modules; module->name; module++) {
    lua_pushlightuserdata(L, (void *)module);
    lua_pushcclosure(L, load_bundled, 1);
    lua_setfield(L, -2, module->name);
  }
  for (const luaL_Reg *module = bundle_c_modules; module->name; module++) {
    lua_pushcfunction(L, module->func);
    lua_setfield(L, -2, module->name);
  }
  lua_pop(L, 2);
}
