/* tls/policy.c: policies (what a server or client wants of its connections) and rings of ticket keys, as Lua has them. */
#include "tls/handle.h"

#include "host/fields.h"
#include "host/userdata.h"
#include <stdlib.h>
#include <string.h>

static bool copy_alpn(lua_State *L, tls_policy_t *policy) {
  lua_getfield(L, 1, "alpn");
  size_t len = 0;
  const char *wire = lua_tolstring(L, -1, &len);
  if (len > 0) {
    policy->alpn = malloc(len);
    if (policy->alpn == NULL) return false;
    memcpy(policy->alpn, wire, len);
    policy->alpn_len = len;
  }
  lua_pop(L, 1);
  return true;
}

/* policy{ requestCert, reject, sessions, keys, askName, askALPN, askSession, askOCSP: booleans; alpn: protocols each
 * behind its length; tickets } */
static int l_policy(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  tls_policy_t **at = lua_newuserdata(L, sizeof *at);
  *at = NULL;
  luaL_getmetatable(L, TLS_POLICY_TYPE);
  lua_setmetatable(L, -2);
  tls_policy_t *policy = calloc(1, sizeof *policy);
  if (policy == NULL) return luaL_error(L, "not enough memory");
  *at = policy;
  policy->refs = 1;
  policy->request_cert = fields_flag(L, 1, "requestCert");
  policy->reject = fields_flag(L, 1, "reject");
  policy->want_sessions = fields_flag(L, 1, "sessions");
  policy->want_keys = fields_flag(L, 1, "keys");
  policy->ask_name = fields_flag(L, 1, "askName");
  policy->ask_alpn = fields_flag(L, 1, "askALPN");
  policy->ask_session = fields_flag(L, 1, "askSession");
  policy->ask_ocsp = fields_flag(L, 1, "askOCSP");
  lua_getfield(L, 1, "tickets");
  if (!lua_isnil(L, -1))
    policy->tickets = tls_tickets_hold(*(tls_tickets_t **)luaL_checkudata(L, -1, TLS_TICKETS_TYPE));
  lua_pop(L, 1);
  return copy_alpn(L, policy) ? 1 : luaL_error(L, "not enough memory");
}

static int l_policy_gc(lua_State *L) {
  tls_policy_t **at = luaL_checkudata(L, 1, TLS_POLICY_TYPE);
  tls_policy_release(*at);
  *at = NULL;
  return 0;
}

/* tickets() → a ring with a key of chance */
static int l_tickets(lua_State *L) {
  tls_tickets_t **at = lua_newuserdata(L, sizeof *at);
  *at = NULL;
  luaL_getmetatable(L, TLS_TICKETS_TYPE);
  lua_setmetatable(L, -2);
  *at = tls_tickets_new();
  return *at != NULL ? 1 : luaL_error(L, "no random bytes for ticket keys");
}

static int l_tickets_gc(lua_State *L) {
  tls_tickets_t **at = luaL_checkudata(L, 1, TLS_TICKETS_TYPE);
  tls_tickets_release(*at);
  *at = NULL;
  return 0;
}

/* ring:set(keys): one to three of 48 bytes each, the newest first. */
static int l_tickets_set(lua_State *L) {
  tls_tickets_t **at = luaL_checkudata(L, 1, TLS_TICKETS_TYPE);
  size_t len;
  const char *keys = luaL_checklstring(L, 2, &len);
  if (len == 0 || len % TLS_TICKET_KEY != 0) return luaL_argerror(L, 2, "keys of 48 bytes expected");
  tls_tickets_set(*at, keys, (int)(len / TLS_TICKET_KEY));
  return 0;
}

/* ring:get() → all its keys, the newest first */
static int l_tickets_get(lua_State *L) {
  tls_tickets_t **at = luaL_checkudata(L, 1, TLS_TICKETS_TYPE);
  lua_pushlstring(L, (const char *)(*at)->keys, (size_t)(*at)->count * TLS_TICKET_KEY);
  return 1;
}

void tls_policy_open(lua_State *L) {
  static const luaL_Reg policy[] = {{"__gc", l_policy_gc}, {NULL, NULL}};
  static const luaL_Reg tickets[] = {
      {"__gc", l_tickets_gc}, {"set", l_tickets_set}, {"get", l_tickets_get}, {NULL, NULL}};
  userdata_class(L, TLS_POLICY_TYPE, policy);
  userdata_class(L, TLS_TICKETS_TYPE, tickets);
  lua_pushcfunction(L, l_policy);
  lua_setfield(L, -2, "policy");
  lua_pushcfunction(L, l_tickets);
  lua_setfield(L, -2, "tickets");
}
