/* tls/handle.h: an encrypted connection as Lua has it: a userdata with the methods of a stream handle (see
 * lualib/lrun/net/handles.lua) and those that tell facts of TLS (tls/facts.c). */
#ifndef LRUN_TLS_HANDLE_H
#define LRUN_TLS_HANDLE_H

#include "tls/conn.h"

#include <lauxlib.h>

#define TLS_HANDLE_TYPE  "lrun.tls.handle"
#define TLS_POLICY_TYPE  "lrun.tls.policy"
#define TLS_TICKETS_TYPE "lrun.tls.tickets"

/* The connection of the handle at `index`; another value throws. */
tls_conn_t *tls_handle_at(lua_State *L, int index);

/* Registers the class and puts wrap into the table on top. */
void tls_handle_open(lua_State *L);

/* The stream comes back from who took it (stream_kind_t.reclaim). */
void tls_handle_reclaim(stream_t *s);

/* tls/policy.c: registers policies and tickets, and puts their makers into the table on top. */
void tls_policy_open(lua_State *L);

/* tls/facts.c: methods. */
extern const luaL_Reg tls_facts[];

#endif
