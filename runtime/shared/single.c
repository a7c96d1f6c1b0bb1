/* shared/single.c: operations of one call: what reads (a view, a look, the end of the view) and what changes (one
 * transaction). See shared/dict.h. */
#include "shared/dict.h"

#include "host/fields.h"

#include <math.h>
#include <string.h>

/* Reading ------------------------------------------------------------------------------------------------- */

enum { COPIED = 512 }; /* bytes: what a view's end costs less than a guard */

/* get(key) → value[, true] or nil */
static int l_get(lua_State *L) {
  store_t *store = &dict_at(L, 1)->store;
  store_key_t key;
  found_t found;
  unsigned char copy[COPIED];
  dict_read_key(L, 2, &key);
  int rc = store_read_begin(store);
  if (rc != 0) return dict_failed(L, rc);
  rc = store_find(store, store->reader, &key, &found);
  int pushed = 0;
  bool is_small = rc == 0 && found.len <= COPIED;
  if (is_small) {
    memcpy(copy, found.payload, found.len);
    found.payload = copy;
  } else if (rc == 0) {
    pushed = dict_push_guarded(L, &found);
  }
  store_read_end(store);
  if (pushed < 0) return lua_error(L);
  if (rc == MDB_NOTFOUND) return lua_pushnil(L), 1;
  if (rc != 0) return dict_failed(L, rc);
  if (is_small) pushed = dict_push_value(L, &found);
  if (pushed == 0) return dict_failed(L, STORE_KIND);
  store_touch(store, &key);
  return pushed;
}

/* ttl(key) → ms, infinity for an entry that does not end, nil for none */
static int l_ttl(lua_State *L) {
  store_t *store = &dict_at(L, 1)->store;
  store_key_t key;
  found_t found;
  dict_read_key(L, 2, &key);
  int rc = store_read_begin(store);
  if (rc != 0) return dict_failed(L, rc);
  rc = store_find(store, store->reader, &key, &found);
  store_read_end(store);
  if (rc == MDB_NOTFOUND) return lua_pushnil(L), 1;
  if (rc != 0) return dict_failed(L, rc);
  lua_pushnumber(L, found.head.ends == 0 ? INFINITY : found.head.ends - store_now(store));
  return 1;
}

/* length(key) → items of a queue */
static int l_length(lua_State *L) {
  store_t *store = &dict_at(L, 1)->store;
  store_key_t key;
  double length = 0;
  dict_read_key(L, 2, &key);
  int rc = store_read_begin(store);
  if (rc != 0) return dict_failed(L, rc);
  rc = queue_length(store, &key, &length);
  store_read_end(store);
  if (rc != 0 && rc != MDB_NOTFOUND) return dict_failed(L, rc);
  lua_pushnumber(L, length);
  return 1;
}

/* stats() → keys, size, used */
static int l_stats(lua_State *L) {
  store_t *store = &dict_at(L, 1)->store;
  meta_t meta;
  int rc = store_read_begin(store);
  if (rc != 0) return dict_failed(L, rc);
  rc = store_meta(store, store->reader, &meta);
  store_read_end(store);
  if (rc != 0) return dict_failed(L, rc);
  lua_pushnumber(L, (lua_Number)meta.keys);
  lua_pushnumber(L, (lua_Number)store->notes->size);
  lua_pushnumber(L, (lua_Number)meta.used);
  return 3;
}

/* The keys that begin so; after those up to `from`. */
typedef struct {
  store_t *store;
  store_key_t from; /* len 0: from the beginning */
  unsigned char prefix[STORE_KEY_MAX + 3];
  size_t prefix_len;
  int most;
  bool values;
  MDB_cursor *cursor;
  int rc, n;
  bool more;
} walk_t;

static bool in_walk(const walk_t *walk, const MDB_val *key) {
  return key->mv_size >= walk->prefix_len && memcmp(key->mv_data, walk->prefix, walk->prefix_len) == 0;
}

static int walk_begin(const walk_t *walk, MDB_val *key, MDB_val *value) {
  bool again = walk->from.len > 0;
  *key = (MDB_val){again ? walk->from.len : walk->prefix_len,
                   again ? (void *)walk->from.bytes : (void *)walk->prefix};
  int rc = mdb_cursor_get(walk->cursor, key, value, MDB_SET_RANGE);
  if (rc == 0 && again && key->mv_size == walk->from.len &&
      memcmp(key->mv_data, walk->from.bytes, key->mv_size) == 0)
    rc = mdb_cursor_get(walk->cursor, key, value, MDB_NEXT);
  return rc;
}

static _Thread_local walk_t *walking;

/* Fills its lists: keys, values, and which values are encoded tables. */
static int walk_guarded(lua_State *L) {
  walk_t *walk = walking;
  MDB_val key, value;
  double now = store_now(walk->store);
  for (walk->rc = walk_begin(walk, &key, &value);
       walk->rc == 0 && in_walk(walk, &key) && walk->n < walk->most;
       walk->rc = mdb_cursor_get(walk->cursor, &key, &value, MDB_NEXT)) {
    found_t found;
    if (value.mv_size < sizeof found.head) continue;
    memcpy(&found.head, value.mv_data, sizeof found.head);
    if (found.head.ends != 0 && found.head.ends <= now) continue;
    found.payload = (const unsigned char *)value.mv_data + sizeof found.head;
    found.len = value.mv_size - sizeof found.head;
    if (walk->values) {
      int pushed = dict_push_value(L, &found);
      if (pushed == 0) continue; /* queues and limits have no value */
      if (pushed == 2) lua_rawseti(L, 3, walk->n + 1);
      lua_rawseti(L, 2, walk->n + 1);
    }
    dict_push_key(L, key.mv_data, key.mv_size);
    lua_rawseti(L, 1, ++walk->n);
  }
  walk->more = walk->rc == 0 && in_walk(walk, &key);
  return 0;
}

static lua_CFunction walk_guard = walk_guarded;

static void read_walk(lua_State *L, walk_t *walk) {
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  lua_getfield(L, 2, "prefix");
  if (!lua_isnil(L, -1)) {
    size_t len;
    const char *prefix = luaL_checklstring(L, -1, &len);
    if (len > STORE_KEY_MAX) len = STORE_KEY_MAX + 1; /* no key is as long */
    walk->prefix[1] = 's';
    memcpy(walk->prefix + 2, prefix, len);
    walk->prefix_len = 2 + len;
  }
  lua_getfield(L, 2, "after");
  if (!lua_isnil(L, -1)) dict_read_key(L, lua_gettop(L), &walk->from);
  lua_getfield(L, 2, "most");
  walk->most = (int)luaL_checkinteger(L, -1);
  walk->values = fields_flag(L, 2, "values");
  lua_settop(L, 2);
}

/* walk{ after, prefix, most, values } → keys, values, which are tables, whether there are more */
static int l_walk(lua_State *L) {
  store_t *store = &dict_at(L, 1)->store;
  walk_t walk = {.store = store, .prefix = {STORE_ENTRY}, .prefix_len = 1};
  read_walk(L, &walk);
  for (int i = 0; i < 3; i++) lua_newtable(L);
  int rc = store_read_begin(store);
  if (rc != 0) return dict_failed(L, rc);
  rc = mdb_cursor_open(store->reader, store->dbi, &walk.cursor);
  int failure = 0;
  if (rc == 0) {
    walking = &walk;
    dict_kept(L, &walk_guard);
    for (int i = 3; i <= 5; i++) lua_pushvalue(L, i);
    failure = lua_pcall(L, 3, 0, 0);
    mdb_cursor_close(walk.cursor);
    rc = walk.rc == MDB_NOTFOUND ? 0 : walk.rc;
  }
  store_read_end(store);
  if (failure != 0) return lua_error(L);
  if (rc != 0) return dict_failed(L, rc);
  lua_pushboolean(L, walk.more);
  return 4;
}

/* Changing ------------------------------------------------------------------------------------------------ */

typedef struct {
  store_key_t key;
  value_t value;
  set_mode_t mode;
  double ttl; /* 0 for none */
  bool done;
} set_t;

static int do_set(store_t *store, void *data) {
  set_t *set = data;
  found_t found;
  set->done = true;
  if (set->mode != SET_ALWAYS) {
    int rc = store_find(store, store->writer, &set->key, &found);
    if (rc != 0 && rc != MDB_NOTFOUND) return rc;
    set->done = (rc == 0) == (set->mode == SET_PRESENT);
    if (!set->done) return 0;
  }
  return dict_put_value(store, &set->key, &set->value, set->ttl > 0 ? store_now(store) + set->ttl : 0);
}

/* set(key, value, isTable, ttl or 0, mode) → whether it was set, heard */
static int l_set(lua_State *L) {
  store_t *store = dict_writable(L, 1);
  if (!store) return dict_busy(L);
  set_t set = {.ttl = luaL_checknumber(L, 5), .mode = (set_mode_t)luaL_checkinteger(L, 6)};
  dict_read_key(L, 2, &set.key);
  dict_read_value(L, 3, &set.value);
  int rc = store_change(store, do_set, &set);
  if (rc != 0) return dict_failed(L, rc);
  lua_pushboolean(L, set.done);
  return dict_changed(L, store, 1);
}

static int do_delete(store_t *store, void *data) { return store_delete(store, data); }

/* delete(key) → whether there was something, heard */
static int l_delete(lua_State *L) {
  store_t *store = dict_writable(L, 1);
  if (!store) return dict_busy(L);
  store_key_t key;
  dict_read_key(L, 2, &key);
  int rc = store_change(store, do_delete, &key);
  if (rc != 0 && rc != MDB_NOTFOUND) return dict_failed(L, rc);
  lua_pushboolean(L, rc == 0);
  return dict_changed(L, store, 1);
}

typedef struct {
  store_key_t key;
  double by, init, ttl, sum;
  bool has_init;
} incr_t;

static int do_incr(store_t *store, void *data) {
  incr_t *incr = data;
  found_t found;
  double ends = 0;
  int rc = store_find(store, store->writer, &incr->key, &found);
  if (rc == 0) {
    if (found.head.kind != VALUE_NUMBER || found.len != sizeof incr->sum) return STORE_KIND;
    memcpy(&incr->sum, found.payload, sizeof incr->sum);
    ends = found.head.ends;
  } else if (rc != MDB_NOTFOUND || !incr->has_init) {
    return rc;
  } else {
    incr->sum = incr->init;
    if (incr->ttl > 0) ends = store_now(store) + incr->ttl;
  }
  incr->sum += incr->by;
  unsigned char *payload;
  rc = rc == 0 ? store_put_over(store, &incr->key, &found, VALUE_NUMBER, ends, sizeof incr->sum, &payload)
               : store_put(store, &incr->key, VALUE_NUMBER, ends, sizeof incr->sum, &payload);
  if (rc == 0) memcpy(payload, &incr->sum, sizeof incr->sum);
  return rc;
}

/* incr(key, by, init or nil, ttl or 0) → sum, heard */
static int l_incr(lua_State *L) {
  store_t *store = dict_writable(L, 1);
  if (!store) return dict_busy(L);
  incr_t incr = {.by = luaL_checknumber(L, 3), .has_init = !lua_isnil(L, 4), .ttl = luaL_checknumber(L, 5)};
  if (incr.has_init) incr.init = luaL_checknumber(L, 4);
  dict_read_key(L, 2, &incr.key);
  int rc = store_change(store, do_incr, &incr);
  if (rc != 0) return dict_failed(L, rc);
  lua_pushnumber(L, incr.sum);
  return dict_changed(L, store, 1);
}

typedef struct {
  store_key_t key;
  value_t value;
  double length;
} push_t;

static int do_push(store_t *store, void *data) {
  push_t *push = data;
  return queue_push(store, &push->key, push->value.kind, push->value.bytes, push->value.len, &push->length);
}

/* push(key, value, isTable) → length, heard */
static int l_push(lua_State *L) {
  store_t *store = dict_writable(L, 1);
  if (!store) return dict_busy(L);
  push_t push;
  dict_read_key(L, 2, &push.key);
  dict_read_value(L, 3, &push.value);
  int rc = store_change(store, do_push, &push);
  if (rc != 0) return dict_failed(L, rc);
  lua_pushnumber(L, push.length);
  return dict_changed(L, store, 1);
}

/* pop(key) → whether there was one, value, isTable, heard */
static int l_pop(lua_State *L) {
  store_t *store = dict_writable(L, 1);
  if (!store) return dict_busy(L);
  store_key_t key;
  found_t item;
  int pushed = 0;
  dict_read_key(L, 2, &key);
  lua_settop(L, 2);
  lua_pushboolean(L, 1);
  int rc = store_write_begin(store);
  if (rc != 0) return dict_failed(L, rc);
  rc = queue_first(store, &key, &item);
  if (rc == 0 && !dict_is_value(&item)) rc = STORE_DAMAGED;
  if (rc == 0) pushed = dict_push_guarded(L, &item);
  if (rc == 0 && pushed > 0) rc = queue_shift(store, &key);
  if (rc == 0 && pushed > 0) rc = store_write_commit(store);
  else store_write_abort(store);
  if (pushed < 0) return lua_error(L);
  if (rc == MDB_NOTFOUND) return lua_pushboolean(L, 0), 1;
  if (rc != 0) return dict_failed(L, rc);
  if (pushed == 1) lua_pushboolean(L, 0);
  return dict_changed(L, store, 3);
}

typedef struct {
  store_key_t key;
  uint32_t n;
  double window;
  limit_result_t result;
} limit_t;

static int do_limit(store_t *store, void *data) {
  limit_t *limit = data;
  return limit_count(store, &limit->key, limit->n, limit->window, &limit->result);
}

/* limit(key, n, window) → allowed, left, ms to wait */
static int l_limit(lua_State *L) {
  store_t *store = dict_writable(L, 1);
  if (!store) return dict_busy(L);
  limit_t limit = {.n = (uint32_t)luaL_checkinteger(L, 3), .window = luaL_checknumber(L, 4)};
  dict_read_key(L, 2, &limit.key);
  int rc = store_change(store, do_limit, &limit);
  if (rc != 0) return dict_failed(L, rc);
  lua_pushboolean(L, limit.result.allowed);
  lua_pushnumber(L, limit.result.left);
  lua_pushnumber(L, limit.result.retry_after);
  return 3;
}

static int do_drop(store_t *store, void *data) {
  (void)data;
  int rc = mdb_drop(store->writer, store->dbi, 0);
  store->meta = (meta_t){.stamps = store->meta.stamps, .queues = store->meta.queues};
  store->meta_changed = true;
  return rc;
}

/* drop() → true: everything goes */
static int l_drop(lua_State *L) {
  store_t *store = dict_writable(L, 1);
  if (!store) return dict_busy(L);
  int rc = store_change(store, do_drop, NULL);
  if (rc != 0) return dict_failed(L, rc);
  lua_pushboolean(L, 1);
  return dict_changed(L, store, 1);
}

void dict_single_guards(lua_State *L) { dict_keep(L, &walk_guard); }

const luaL_Reg dict_single_methods[] = {
    {"get", l_get},     {"ttl", l_ttl},       {"length", l_length}, {"stats", l_stats}, {"walk", l_walk},
    {"set", l_set},     {"delete", l_delete}, {"incr", l_incr},     {"push", l_push},   {"pop", l_pop},
    {"limit", l_limit}, {"drop", l_drop},     {NULL, NULL}};
