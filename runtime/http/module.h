/* http/module.h: what the parts of the module `lrun.core.http` share. */
#ifndef LRUN_HTTP_MODULE_H
#define LRUN_HTTP_MODULE_H

#include "http/connection.h"

#include <lua.h>

/* The connection at an index. */
static inline http_conn_t *http_module_conn(lua_State *L, int index) { return lua_touserdata(L, index); }

/* A limit of fields; 0 for none. */
static inline uint32_t http_module_fields(lua_State *L, int index) {
  lua_Number n = lua_tonumber(L, index);
  return n >= 1 && n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

/* http/messages.c: adds its functions to the table on top. */
void http_messages_register(lua_State *L);

#endif
