/* http/fields.c: see http/fields.h. Heads are judged before they come here: every line is good and ends in
 * CRLF. */
#include "http/fields.h"
#include "http/grammar.h"

#include <lauxlib.h>
#include <stdint.h>
#include <string.h>

bool http_fields_next(const char **at, const char *end, http_field_t *f) {
  const char *line = *at;
  const char *nl = line < end ? memchr(line, '\n', (size_t)(end - line)) : NULL;
  if (nl == NULL || nl - line < 2) return false;
  *at = nl + 1;
  const char *colon = memchr(line, ':', (size_t)(nl - line));
  if (colon == NULL) return false;
  f->name = line;
  f->nlen = (size_t)(colon - line);
  const char *value = colon + 1;
  const char *stop = nl - 1;
  while (value < stop && (*value == ' ' || *value == '\t')) value++;
  while (stop > value && (stop[-1] == ' ' || stop[-1] == '\t')) stop--;
  f->value = value;
  f->vlen = (size_t)(stop - value);
  return true;
}

/* The first field line of the argument. */
static const char *fields_of(lua_State *L, const char **end) {
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  *end = text + len;
  if (lua_isboolean(L, 2)) return text;
  const char *nl = memchr(text, '\n', len);
  return nl != NULL ? nl + 1 : *end;
}

static void push_lower(lua_State *L, const char *name, size_t len) {
  char small[64];
  if (len > sizeof small) {
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < len; i++) {
      char c = name[i];
      luaL_addchar(&b, (char)(c >= 'A' && c <= 'Z' ? c + 32 : c));
    }
    luaL_pushresult(&b);
    return;
  }
  for (size_t i = 0; i < len; i++)
    small[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
  lua_pushlstring(L, small, len);
}

/* Fields of which Node keeps the first value only. */
static bool first_wins(const char *name) {
  static const char *const names[] = {"age",
                                      "authorization",
                                      "content-length",
                                      "content-type",
                                      "etag",
                                      "expires",
                                      "from",
                                      "host",
                                      "if-modified-since",
                                      "if-unmodified-since",
                                      "last-modified",
                                      "location",
                                      "max-forwards",
                                      "proxy-authorization",
                                      "referer",
                                      "retry-after",
                                      "server",
                                      "user-agent",
                                      NULL};
  for (size_t i = 0; names[i] != NULL; i++) {
    if (strcmp(names[i], name) == 0) return true;
  }
  return false;
}

/* Appends the value to the list that the table at index `t` has under the name on top, and pops the name. */
static void append(lua_State *L, int t, const http_field_t *f) {
  lua_pushvalue(L, -1);
  lua_rawget(L, t);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, t);
  }
  lua_pushlstring(L, f->value, f->vlen);
  lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
  lua_pop(L, 2);
}

/* The table is at index `t`, the lower-case name on top: leaves neither name nor value. */
static void join(lua_State *L, int t, const http_field_t *f) {
  const char *name = lua_tostring(L, -1);
  if (strcmp(name, "set-cookie") == 0) {
    append(L, t, f);
    return;
  }
  lua_pushvalue(L, -1);
  lua_rawget(L, t);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_pushlstring(L, f->value, f->vlen);
    lua_rawset(L, t);
  } else if (first_wins(name)) {
    lua_pop(L, 2);
  } else {
    lua_pushstring(L, strcmp(name, "cookie") == 0 ? "; " : ", ");
    lua_pushlstring(L, f->value, f->vlen);
    lua_concat(L, 3);
    lua_rawset(L, t);
  }
}

int http_fields_headers(lua_State *L) {
  const char *end;
  const char *at = fields_of(L, &end);
  lua_createtable(L, 0, 8);
  int t = lua_gettop(L);
  http_field_t f;
  while (http_fields_next(&at, end, &f)) {
    push_lower(L, f.name, f.nlen);
    join(L, t, &f);
  }
  return 1;
}

int http_fields_distinct(lua_State *L) {
  const char *end;
  const char *at = fields_of(L, &end);
  lua_newtable(L);
  int t = lua_gettop(L);
  http_field_t f;
  while (http_fields_next(&at, end, &f)) {
    push_lower(L, f.name, f.nlen);
    append(L, t, &f);
  }
  return 1;
}

int http_fields_raw(lua_State *L) {
  const char *end;
  const char *at = fields_of(L, &end);
  lua_newtable(L);
  int t = lua_gettop(L), n = 0;
  http_field_t f;
  while (http_fields_next(&at, end, &f)) {
    lua_pushlstring(L, f.name, f.nlen);
    lua_rawseti(L, t, ++n);
    lua_pushlstring(L, f.value, f.vlen);
    lua_rawseti(L, t, ++n);
  }
  return 1;
}

int http_fields_method(lua_State *L) {
  size_t len;
  const char *head = luaL_checklstring(L, 1, &len);
  const char *space = memchr(head, ' ', len);
  lua_pushlstring(L, head, space != NULL ? (size_t)(space - head) : 0);
  return 1;
}

int http_fields_target(lua_State *L) {
  size_t len;
  const char *head = luaL_checklstring(L, 1, &len);
  const char *end = head + len;
  const char *from = memchr(head, ' ', len);
  const char *to = from != NULL ? memchr(from + 1, ' ', (size_t)(end - from - 1)) : NULL;
  lua_pushlstring(L, to != NULL ? from + 1 : "", to != NULL ? (size_t)(to - from - 1) : 0);
  return 1;
}

int http_fields_is_token(lua_State *L) {
  size_t len;
  const char *s = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &len) : NULL;
  bool good = s != NULL && len > 0;
  for (size_t i = 0; good && i < len; i++) good = http_is_token((unsigned char)s[i]);
  lua_pushboolean(L, good);
  return 1;
}

int http_fields_is_text(lua_State *L) {
  size_t len;
  const char *s = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &len) : NULL;
  lua_pushboolean(L, s != NULL && http_all_text(s, len, 0));
  return 1;
}
