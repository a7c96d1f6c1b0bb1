/* http/fields.h: a judged head as Lua tables. */
#ifndef LRUN_HTTP_FIELDS_H
#define LRUN_HTTP_FIELDS_H

#include <lua.h>

/* Lua functions; the argument is a head with its start line, or a trailer section with `false` as second
 * argument. headers: lower-case names, repeated ones joined or dropped as Node does; set-cookie is always a
 * list. distinct: every value a list. raw: names and values in turn, as they came. */
int http_fields_headers(lua_State *L);
int http_fields_distinct(lua_State *L);
int http_fields_raw(lua_State *L);

/* method(head) and target(head) of a request. */
int http_fields_method(lua_State *L);
int http_fields_target(lua_State *L);

/* token(name): whether it may name a field or method. text(value): whether it may be a field's value. */
int http_fields_is_token(lua_State *L);
int http_fields_is_text(lua_State *L);

#endif
