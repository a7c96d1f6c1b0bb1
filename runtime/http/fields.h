/* http/fields.h: what Lua asks of a head that was judged, and of names and values for one that is to be sent. */
#ifndef LRUN_HTTP_FIELDS_H
#define LRUN_HTTP_FIELDS_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct {
  const char *name, *value;
  size_t nlen, vlen;
} http_field_t;

/* Moves *at behind the next field line, of those that end at `end`; false when there is none. */
bool http_fields_next(const char **at, const char *end, http_field_t *f);

/* Functions of the module. The first three take a head with its start line, or a trailer section and `false`.
 * headers: lower-case names, repeated ones joined or dropped as Node does; set-cookie is always a list.
 * headersDistinct: every value a list. rawHeaders: names and values in turn, as they came. */
int http_fields_headers(lua_State *L);
int http_fields_distinct(lua_State *L);
int http_fields_raw(lua_State *L);

/* method(head) and target(head) of a request. */
int http_fields_method(lua_State *L);
int http_fields_target(lua_State *L);

/* isToken(name): whether it may name a field or method. isText(value): whether it may be a field's value. */
int http_fields_is_token(lua_State *L);
int http_fields_is_text(lua_State *L);

#endif
