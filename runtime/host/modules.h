/* host/modules.h: the C modules that `require` finds: one line here and one in host/bundle.c's table for each. */
#ifndef LRUN_HOST_MODULES_H
#define LRUN_HOST_MODULES_H

#include <lua.h>

int luaopen_lrun_luv(lua_State *L); /* luv, with a `walk` that knows the host's own handles */
int luaopen_cjson(lua_State *L);
int luaopen_cjson_safe(lua_State *L);

int luaopen_lrun_bundle(lua_State *L);
int luaopen_lrun_channel(lua_State *L);
int luaopen_lrun_crypto(lua_State *L);
int luaopen_lrun_encoding(lua_State *L);
int luaopen_lrun_errno(lua_State *L);
int luaopen_lrun_files(lua_State *L);
int luaopen_lrun_first(lua_State *L);
int luaopen_lrun_handoff(lua_State *L);
int luaopen_lrun_handlewrite(lua_State *L);
int luaopen_lrun_http(lua_State *L);
int luaopen_lrun_supervise(lua_State *L);
int luaopen_lrun_system(lua_State *L);
int luaopen_lrun_interrupt(lua_State *L);
int luaopen_lrun_json(lua_State *L);
int luaopen_lrun_orphan(lua_State *L);
int luaopen_lrun_output(lua_State *L);
int luaopen_lrun_probe(lua_State *L);
int luaopen_lrun_redis(lua_State *L);
int luaopen_lrun_sendfile(lua_State *L);
int luaopen_lrun_shared(lua_State *L);
int luaopen_lrun_sockets(lua_State *L);
int luaopen_lrun_spawn(lua_State *L);
int luaopen_lrun_terminal(lua_State *L);
int luaopen_lrun_unix(lua_State *L);
int luaopen_lrun_timing(lua_State *L);
int luaopen_lrun_tls(lua_State *L);
int luaopen_lrun_vm(lua_State *L);
int luaopen_lrun_wait(lua_State *L);
int luaopen_lrun_websocket(lua_State *L);
int luaopen_lrun_zlib(lua_State *L);

#endif
