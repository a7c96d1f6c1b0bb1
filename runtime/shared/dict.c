/* shared/dict.c: keys, values and failures between Lua and a store. See shared/dict.h. */
#include "shared/dict.h"

#include <string.h>
#include <uv.h>

dict_t *dict_at(lua_State *L, int index) {
  dict_t *dict = luaL_checkudata(L, index, DICT_CLASS);
  if (!dict->open) luaL_error(L, "the dictionary is closed");
  return dict;
}

store_t *dict_writable(lua_State *L, int index) {
  dict_t *dict = dict_at(L, index);
  return dict_updates() > 0 ? NULL : &dict->store;
}

static const char *name_of(int rc) {
  switch (rc) {
  case STORE_FULL:
  case MDB_MAP_FULL: return "FULL";
  case STORE_KIND: return "KIND";
  case STORE_OTHER: return "OTHER";
  case STORE_DAMAGED:
  case MDB_CORRUPTED:
  case MDB_PAGE_NOTFOUND:
  case MDB_PANIC: return "DAMAGED";
  case MDB_NOTFOUND: return "ABSENT";
  case MDB_READERS_FULL: return "EAGAIN";
  default: return rc > 0 ? uv_err_name(uv_translate_sys_error(rc)) : "DAMAGED";
  }
}

int dict_failed(lua_State *L, int rc) {
  lua_pushnil(L);
  lua_pushstring(L, name_of(rc));
  return 2;
}

int dict_busy(lua_State *L) {
  lua_pushnil(L);
  lua_pushliteral(L, "BUSY");
  return 2;
}

void dict_read_key(lua_State *L, int index, store_key_t *key) {
  key->bytes[0] = STORE_ENTRY;
  if (lua_type(L, index) == LUA_TNUMBER) {
    double number = lua_tonumber(L, index) + 0.0; /* -0 is 0 */
    key->bytes[1] = 'n';
    memcpy(key->bytes + 2, &number, sizeof number);
    key->len = 2 + sizeof number;
    return;
  }
  size_t len;
  const char *text = luaL_checklstring(L, index, &len);
  if (len > STORE_KEY_MAX) luaL_error(L, "a key is too long");
  key->bytes[1] = 's';
  memcpy(key->bytes + 2, text, len);
  key->len = 2 + len;
}

void dict_push_key(lua_State *L, const unsigned char *bytes, size_t len) {
  double number;
  if (bytes[1] == 'n' && len == 2 + sizeof number) {
    memcpy(&number, bytes + 2, sizeof number);
    lua_pushnumber(L, number);
  } else {
    lua_pushlstring(L, (const char *)bytes + 2, len - 2);
  }
}

void dict_read_value(lua_State *L, int index, value_t *value) {
  switch (lua_type(L, index)) {
  case LUA_TNUMBER:
    value->kind = VALUE_NUMBER;
    value->number = lua_tonumber(L, index);
    value->bytes = (const char *)&value->number;
    value->len = sizeof value->number;
    break;
  case LUA_TBOOLEAN:
    value->kind = VALUE_BOOLEAN;
    value->truth = (char)lua_toboolean(L, index);
    value->bytes = &value->truth;
    value->len = 1;
    break;
  default:
    value->kind = lua_toboolean(L, index + 1) ? VALUE_TABLE : VALUE_STRING;
    value->bytes = luaL_checklstring(L, index, &value->len);
  }
}

int dict_push_value(lua_State *L, const found_t *found) {
  double number;
  switch (found->head.kind) {
  case VALUE_NUMBER:
    if (found->len != sizeof number) return 0;
    memcpy(&number, found->payload, sizeof number);
    lua_pushnumber(L, number);
    return 1;
  case VALUE_BOOLEAN: lua_pushboolean(L, found->len == 1 && found->payload[0]); return 1;
  case VALUE_STRING: lua_pushlstring(L, (const char *)found->payload, found->len); return 1;
  case VALUE_TABLE:
    lua_pushlstring(L, (const char *)found->payload, found->len);
    lua_pushboolean(L, 1);
    return 2;
  default: return 0;
  }
}

/* What dict_push_guarded pushes. */
static _Thread_local const found_t *guarded;

static int push_guarded(lua_State *L) { return dict_push_value(L, guarded); }

/* Functions that are called while memory may have run out: making one takes some. Each is kept under its own address. */
void dict_keep(lua_State *L, lua_CFunction *function) {
  lua_pushlightuserdata(L, function);
  lua_pushcfunction(L, *function);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

void dict_kept(lua_State *L, lua_CFunction *function) {
  lua_pushlightuserdata(L, function);
  lua_rawget(L, LUA_REGISTRYINDEX);
}

static lua_CFunction guard = push_guarded;

int dict_push_guarded(lua_State *L, const found_t *found) {
  int top = lua_gettop(L);
  guarded = found;
  dict_kept(L, &guard);
  if (lua_pcall(L, 0, LUA_MULTRET, 0) != 0) return -1;
  return lua_gettop(L) - top;
}

void dict_guards(lua_State *L) { dict_keep(L, &guard); }

bool dict_is_value(const found_t *found) {
  value_kind_t kind = (value_kind_t)found->head.kind;
  return kind == VALUE_STRING || kind == VALUE_TABLE || kind == VALUE_BOOLEAN ||
         (kind == VALUE_NUMBER && found->len == sizeof(double));
}

bool dict_is_heard(const store_t *store) {
  return __atomic_load_n(&store->notes->listeners, __ATOMIC_RELAXED) > 0;
}

int dict_changed(lua_State *L, const store_t *store, int results) {
  lua_pushboolean(L, dict_is_heard(store));
  return results + 1;
}

int dict_put_value(store_t *store, const store_key_t *key, const value_t *value, double ends) {
  unsigned char *payload;
  int rc = store_put(store, key, value->kind, ends, value->len, &payload);
  if (rc == 0) memcpy(payload, value->bytes, value->len);
  return rc;
}
