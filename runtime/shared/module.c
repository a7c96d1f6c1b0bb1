/* shared/module.c: the module `lrun.core.shared`, on which lualib/shared.lua builds. A dictionary's userdata owns its store.
 *
 * Keys are strings or numbers; values strings, numbers, booleans, and, behind them, `true` for bytes that are an encoded
 * table. A method that fails returns nil and a name: an errno's, or "FULL", "KIND", "ABSENT", "OTHER", "DAMAGED", "BUSY". Those that
 * change something return, last, whether somebody listens. Nothing of Lua runs within a transaction but in `begin` …
 * `finish`, whose function is called by `atomically`: it cannot wait. */
#include "shared/store.h"

#include "host/modules.h"
#include "host/userdata.h"
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <math.h>
#include <string.h>
#include <uv.h>

static const char *const class_name = "lrun.shared";

typedef struct {
  store_t store;
  bool open;
  bool updating; /* between begin and finish */
} dict_t;

/* Between begin and finish of any dictionary of this process: other writers would be waited for, who may wait for us. */
static _Thread_local int updates;

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

static int failed(lua_State *L, int rc) {
  lua_pushnil(L);
  lua_pushstring(L, name_of(rc));
  return 2;
}

static dict_t *dict_at(lua_State *L, int index) {
  dict_t *dict = luaL_checkudata(L, index, class_name);
  if (!dict->open) luaL_error(L, "the dictionary is closed");
  return dict;
}

/* A dictionary that may be changed now, or NULL. */
static store_t *writable(lua_State *L, dict_t *dict) {
  if (updates > 0) return NULL;
  if (dict->store.writer)
    store_write_abort(&dict->store); /* an error of Lua's memory has passed the end by */
  (void)L;
  return &dict->store;
}

static int busy(lua_State *L) {
  lua_pushnil(L);
  lua_pushliteral(L, "BUSY");
  return 2;
}

static void read_key(lua_State *L, int index, store_key_t *key) {
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

static void push_key(lua_State *L, const unsigned char *bytes, size_t len) {
  double number;
  if (bytes[1] == 'n' && len == 2 + sizeof number) {
    memcpy(&number, bytes + 2, sizeof number);
    lua_pushnumber(L, number);
  } else {
    lua_pushlstring(L, (const char *)bytes + 2, len - 2);
  }
}

/* A value as the tree has it; `number` and `truth` are where its bytes are when it is no string. */
typedef struct {
  value_kind_t kind;
  const char *bytes;
  size_t len;
  double number;
  char truth;
} value_t;

static void read_value(lua_State *L, int index, value_t *value) {
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

/* Pushes a value, and `true` behind an encoded table; how many were pushed, or 0 for a kind that is no value. */
static int push_value(lua_State *L, const found_t *found) {
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

static bool is_heard(const store_t *store) {
  return __atomic_load_n(&store->notes->listeners, __ATOMIC_RELAXED) > 0;
}

static int changed(lua_State *L, const store_t *store, int results) {
  lua_pushboolean(L, is_heard(store));
  return results + 1;
}

/* Reading ------------------------------------------------------------------------------------------------- */

/* get(key) → value[, true] or nil */
static int l_get(lua_State *L) {
  dict_t *dict = dict_at(L, 1);
  store_t *store = &dict->store;
  store_key_t key;
  found_t found;
  read_key(L, 2, &key);
  int rc = store_read_begin(store);
  if (rc != 0) return failed(L, rc);
  rc = store_find(store, store->reader, &key, &found);
  int pushed = rc == 0 ? push_value(L, &found) : 0;
  store_read_end(store);
  if (rc == MDB_NOTFOUND) return lua_pushnil(L), 1;
  if (rc != 0) return failed(L, rc);
  if (pushed == 0) return failed(L, STORE_KIND);
  store_touch(store, &key);
  return pushed;
}

/* ttl(key) → ms, infinity for an entry that does not end, nil for none */
static int l_ttl(lua_State *L) {
  store_t *store = &dict_at(L, 1)->store;
  store_key_t key;
  found_t found;
  read_key(L, 2, &key);
  int rc = store_read_begin(store);
  if (rc != 0) return failed(L, rc);
  rc = store_find(store, store->reader, &key, &found);
  store_read_end(store);
  if (rc == MDB_NOTFOUND) return lua_pushnil(L), 1;
  if (rc != 0) return failed(L, rc);
  lua_pushnumber(L, found.head.ends == 0 ? INFINITY : found.head.ends - store_now(store));
  return 1;
}

/* length(key) → items of a queue */
static int l_length(lua_State *L) {
  store_t *store = &dict_at(L, 1)->store;
  store_key_t key;
  double length = 0;
  read_key(L, 2, &key);
  int rc = store_read_begin(store);
  if (rc != 0) return failed(L, rc);
  rc = queue_length(store, &key, &length);
  store_read_end(store);
  if (rc != 0 && rc != MDB_NOTFOUND) return failed(L, rc);
  lua_pushnumber(L, length);
  return 1;
}

/* stats() → keys, size, used */
static int l_stats(lua_State *L) {
  store_t *store = &dict_at(L, 1)->store;
  meta_t meta;
  int rc = store_read_begin(store);
  if (rc != 0) return failed(L, rc);
  rc = store_meta(store, store->reader, &meta);
  store_read_end(store);
  if (rc != 0) return failed(L, rc);
  lua_pushnumber(L, (lua_Number)meta.keys);
  lua_pushnumber(L, (lua_Number)store->notes->size);
  lua_pushnumber(L, (lua_Number)meta.used);
  return 3;
}

/* The keys that begin so; after those up to `from`. */
typedef struct {
  store_key_t from; /* len 0: from the beginning */
  unsigned char prefix[STORE_KEY_MAX + 3];
  size_t prefix_len;
  int most;
  bool values;
} walk_t;

static bool in_walk(const walk_t *walk, const MDB_val *key) {
  return key->mv_size >= walk->prefix_len && memcmp(key->mv_data, walk->prefix, walk->prefix_len) == 0;
}

/* Fills the lists at 3 (keys), 4 (values) and 5 (which values are encoded tables). */
static int walk(lua_State *L, store_t *store, const walk_t *walk, int *n, bool *more) {
  MDB_cursor *cursor;
  int rc = mdb_cursor_open(store->reader, store->dbi, &cursor);
  if (rc != 0) return rc;
  bool again = walk->from.len > 0;
  MDB_val key = {again ? walk->from.len : walk->prefix_len,
                 again ? (void *)walk->from.bytes : (void *)walk->prefix},
          value;
  double now = store_now(store);
  rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
  if (rc == 0 && again && key.mv_size == walk->from.len &&
      memcmp(key.mv_data, walk->from.bytes, key.mv_size) == 0)
    rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
  for (; rc == 0 && in_walk(walk, &key) && *n < walk->most;
       rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
    found_t found;
    if (value.mv_size < sizeof found.head) continue;
    memcpy(&found.head, value.mv_data, sizeof found.head);
    if (found.head.ends != 0 && found.head.ends <= now) continue;
    found.payload = (const unsigned char *)value.mv_data + sizeof found.head;
    found.len = value.mv_size - sizeof found.head;
    if (walk->values) {
      int pushed = push_value(L, &found);
      if (pushed == 0) continue; /* queues and limits have no value */
      if (pushed == 2) lua_rawseti(L, 5, *n + 1);
      lua_rawseti(L, 4, *n + 1);
    }
    push_key(L, key.mv_data, key.mv_size);
    lua_rawseti(L, 3, ++*n);
  }
  *more = rc == 0 && in_walk(walk, &key);
  mdb_cursor_close(cursor);
  return rc == MDB_NOTFOUND ? 0 : rc;
}

/* walk{ after, prefix, most, values } → keys, values, which are tables, whether there are more */
static int l_walk(lua_State *L) {
  store_t *store = &dict_at(L, 1)->store;
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  walk_t w = {.prefix = {STORE_ENTRY}, .prefix_len = 1};
  lua_getfield(L, 2, "prefix");
  if (!lua_isnil(L, -1)) {
    size_t len;
    const char *prefix = luaL_checklstring(L, -1, &len);
    if (len > STORE_KEY_MAX) len = STORE_KEY_MAX + 1; /* no key is as long */
    w.prefix[1] = 's';
    memcpy(w.prefix + 2, prefix, len);
    w.prefix_len = 2 + len;
  }
  lua_getfield(L, 2, "after");
  if (!lua_isnil(L, -1)) read_key(L, lua_gettop(L), &w.from);
  lua_getfield(L, 2, "most");
  w.most = (int)luaL_checkinteger(L, -1);
  lua_getfield(L, 2, "values");
  w.values = lua_toboolean(L, -1);
  lua_settop(L, 2);
  for (int i = 0; i < 3; i++) lua_newtable(L);
  int n = 0;
  bool more = false;
  int rc = store_read_begin(store);
  if (rc != 0) return failed(L, rc);
  rc = walk(L, store, &w, &n, &more);
  store_read_end(store);
  if (rc != 0) return failed(L, rc);
  lua_pushboolean(L, more);
  return 4;
}

/* Changing ------------------------------------------------------------------------------------------------ */

typedef enum { SET_ALWAYS, SET_ABSENT, SET_PRESENT } set_mode_t;

typedef struct {
  store_key_t key;
  value_t value;
  set_mode_t mode;
  double ttl; /* 0 for none */
  bool done;
} set_t;

static int put_value(store_t *store, const store_key_t *key, const value_t *value, double ends) {
  unsigned char *payload;
  int rc = store_put(store, key, value->kind, ends, value->len, &payload);
  if (rc == 0) memcpy(payload, value->bytes, value->len);
  return rc;
}

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
  return put_value(store, &set->key, &set->value, set->ttl > 0 ? store_now(store) + set->ttl : 0);
}

/* set(key, value, isTable, ttl or 0, mode) → whether it was set, heard */
static int l_set(lua_State *L) {
  store_t *store = writable(L, dict_at(L, 1));
  if (!store) return busy(L);
  set_t set = {.ttl = luaL_checknumber(L, 5), .mode = (set_mode_t)luaL_checkinteger(L, 6)};
  read_key(L, 2, &set.key);
  read_value(L, 3, &set.value);
  int rc = store_change(store, do_set, &set);
  if (rc != 0) return failed(L, rc);
  lua_pushboolean(L, set.done);
  return changed(L, store, 1);
}

static int do_delete(store_t *store, void *data) { return store_delete(store, data); }

/* delete(key) → whether there was something, heard */
static int l_delete(lua_State *L) {
  store_t *store = writable(L, dict_at(L, 1));
  if (!store) return busy(L);
  store_key_t key;
  read_key(L, 2, &key);
  int rc = store_change(store, do_delete, &key);
  if (rc != 0 && rc != MDB_NOTFOUND) return failed(L, rc);
  lua_pushboolean(L, rc == 0);
  return changed(L, store, 1);
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
  store_t *store = writable(L, dict_at(L, 1));
  if (!store) return busy(L);
  incr_t incr = {.by = luaL_checknumber(L, 3), .has_init = !lua_isnil(L, 4), .ttl = luaL_checknumber(L, 5)};
  if (incr.has_init) incr.init = luaL_checknumber(L, 4);
  read_key(L, 2, &incr.key);
  int rc = store_change(store, do_incr, &incr);
  if (rc != 0) return failed(L, rc);
  lua_pushnumber(L, incr.sum);
  return changed(L, store, 1);
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
  store_t *store = writable(L, dict_at(L, 1));
  if (!store) return busy(L);
  push_t push;
  read_key(L, 2, &push.key);
  read_value(L, 3, &push.value);
  int rc = store_change(store, do_push, &push);
  if (rc != 0) return failed(L, rc);
  lua_pushnumber(L, push.length);
  return changed(L, store, 1);
}

/* pop(key) → whether there was one, value, isTable, heard */
static int l_pop(lua_State *L) {
  store_t *store = writable(L, dict_at(L, 1));
  if (!store) return busy(L);
  store_key_t key;
  found_t item;
  read_key(L, 2, &key);
  lua_settop(L, 2);
  int rc = store_write_begin(store);
  if (rc != 0) return failed(L, rc);
  rc = queue_first(store, &key, &item);
  if (rc == 0) {
    lua_pushboolean(L, 1);
    if (push_value(L, &item) == 1) lua_pushboolean(L, 0);
    rc = queue_shift(store, &key);
  }
  if (rc == 0) rc = store_write_commit(store);
  else store_write_abort(store);
  if (rc == MDB_NOTFOUND) return lua_pushboolean(L, 0), 1;
  if (rc != 0) return failed(L, rc);
  return changed(L, store, 3);
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
  store_t *store = writable(L, dict_at(L, 1));
  if (!store) return busy(L);
  limit_t limit = {.n = (uint32_t)luaL_checkinteger(L, 3), .window = luaL_checknumber(L, 4)};
  read_key(L, 2, &limit.key);
  int rc = store_change(store, do_limit, &limit);
  if (rc != 0) return failed(L, rc);
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
  store_t *store = writable(L, dict_at(L, 1));
  if (!store) return busy(L);
  int rc = store_change(store, do_drop, NULL);
  if (rc != 0) return failed(L, rc);
  lua_pushboolean(L, 1);
  return changed(L, store, 1);
}

/* Updates ------------------------------------------------------------------------------------------------- */

/* begin(key) → true, value or nil, isTable. Until finish or abort nobody else changes anything. */
static int l_begin(lua_State *L) {
  dict_t *dict = dict_at(L, 1);
  store_t *store = writable(L, dict);
  if (!store) return busy(L);
  store_key_t key;
  found_t found;
  read_key(L, 2, &key);
  lua_settop(L, 2);
  int rc = store_write_begin(store);
  if (rc != 0) return failed(L, rc);
  rc = store_find(store, store->writer, &key, &found);
  lua_pushboolean(L, 1);
  int pushed = rc == 0 ? push_value(L, &found) : 0;
  if ((rc != 0 && rc != MDB_NOTFOUND) || (rc == 0 && pushed == 0)) {
    store_write_abort(store);
    return failed(L, rc != 0 ? rc : STORE_KIND);
  }
  dict->updating = true;
  updates++;
  return 1 + pushed;
}

static void end_update(dict_t *dict) {
  if (dict->updating) updates--;
  dict->updating = false;
}

/* finish(key, value or nil, isTable) → true, heard: the value takes the old one's place and keeps its time. */
static int l_finish(lua_State *L) {
  dict_t *dict = dict_at(L, 1);
  store_t *store = &dict->store;
  if (!dict->updating) return luaL_error(L, "no update is under way");
  store_key_t key;
  value_t value;
  found_t found;
  read_key(L, 2, &key);
  bool removes = lua_isnil(L, 3);
  if (!removes) read_value(L, 3, &value);
  int rc = store_find(store, store->writer, &key, &found);
  double ends = rc == 0 ? found.head.ends : 0;
  if (rc == 0 || rc == MDB_NOTFOUND)
    rc = removes ? store_delete(store, &key) : put_value(store, &key, &value, ends);
  if (rc == MDB_NOTFOUND) rc = 0;
  if (rc == 0) rc = store_write_commit(store);
  else store_write_abort(store);
  end_update(dict);
  if (rc != 0) return failed(L, rc);
  lua_pushboolean(L, 1);
  return changed(L, store, 1);
}

static int l_abort(lua_State *L) {
  dict_t *dict = dict_at(L, 1);
  store_write_abort(&dict->store);
  end_update(dict);
  return 0;
}

/* atomically(f, value) → true and what it returned first, or false and its error. It cannot yield. */
static int l_atomically(lua_State *L) {
  lua_settop(L, 2);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  int rc = lua_pcall(L, 1, 1, 0);
  lua_pushboolean(L, rc == 0);
  lua_insert(L, -2);
  return 2;
}

/* Locks and listeners ------------------------------------------------------------------------------------- */

static bool lock_byte(const store_t *store, const store_key_t *key, short type) {
  struct flock lock = {
      .l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)(store_hash(key) >> 2), .l_len = 1};
  return fcntl(store->notes_fd, F_OFD_SETLK, &lock) == 0;
}

/* lock(key) → whether this process has it now; the kernel frees it when the process dies. */
static int l_lock(lua_State *L) {
  store_key_t key;
  dict_t *dict = dict_at(L, 1);
  read_key(L, 2, &key);
  lua_pushboolean(L, lock_byte(&dict->store, &key, F_WRLCK));
  return 1;
}

static int l_unlock(lua_State *L) {
  store_key_t key;
  dict_t *dict = dict_at(L, 1);
  read_key(L, 2, &key);
  lock_byte(&dict->store, &key, F_UNLCK);
  return 0;
}

/* listen(1 or -1): one more or one less process that wants to hear of changes */
static int l_listen(lua_State *L) {
  dict_t *dict = dict_at(L, 1);
  int64_t by = luaL_checkinteger(L, 2);
  __atomic_fetch_add(&dict->store.notes->listeners, (uint64_t)by, __ATOMIC_RELAXED);
  return 0;
}

static int l_is_heard(lua_State *L) {
  lua_pushboolean(L, is_heard(&dict_at(L, 1)->store));
  return 1;
}

/* accepts(size or nil, evict or nil) → whether it was made so */
static int l_accepts(lua_State *L) {
  const notes_t *notes = dict_at(L, 1)->store.notes;
  bool size = lua_isnoneornil(L, 2) || luaL_checknumber(L, 2) == (lua_Number)notes->size;
  bool evict = lua_isnoneornil(L, 3) || (lua_toboolean(L, 3) != 0) == (notes->evict != 0);
  lua_pushboolean(L, size && evict);
  return 1;
}

static int l_close(lua_State *L) {
  dict_t *dict = luaL_checkudata(L, 1, class_name);
  end_update(dict);
  if (dict->open) store_close(&dict->store);
  dict->open = false;
  return 0;
}

/* open(path, lasting, size or nil, evict or nil) → dictionary */
static int l_open(lua_State *L) {
  store_options_t options = {.path = luaL_checkstring(L, 1), .lasting = lua_toboolean(L, 2)};
  options.has_size = !lua_isnoneornil(L, 3);
  options.has_evict = !lua_isnoneornil(L, 4);
  if (options.has_size) options.size = (uint64_t)luaL_checknumber(L, 3);
  options.evict = lua_toboolean(L, 4);
  dict_t *dict = lua_newuserdata(L, sizeof *dict);
  memset(dict, 0, sizeof *dict);
  luaL_getmetatable(L, class_name);
  lua_setmetatable(L, -2);
  int rc = strlen(options.path) > 4000 ? ENAMETOOLONG : store_open(&options, &dict->store);
  if (rc != 0) return failed(L, rc);
  dict->open = true;
  return 1;
}

static void set_limit(lua_State *L, const char *name, lua_Number value) {
  lua_pushnumber(L, value);
  lua_setfield(L, -2, name);
}

int luaopen_lrun_shared(lua_State *L) {
  static const luaL_Reg methods[] = {{"get", l_get},
                                     {"ttl", l_ttl},
                                     {"length", l_length},
                                     {"stats", l_stats},
                                     {"walk", l_walk},
                                     {"set", l_set},
                                     {"delete", l_delete},
                                     {"incr", l_incr},
                                     {"push", l_push},
                                     {"pop", l_pop},
                                     {"limit", l_limit},
                                     {"drop", l_drop},
                                     {"begin", l_begin},
                                     {"finish", l_finish},
                                     {"abort", l_abort},
                                     {"lock", l_lock},
                                     {"unlock", l_unlock},
                                     {"listen", l_listen},
                                     {"isHeard", l_is_heard},
                                     {"accepts", l_accepts},
                                     {"close", l_close},
                                     {"__gc", l_close},
                                     {NULL, NULL}};
  static const luaL_Reg functions[] = {{"open", l_open}, {"atomically", l_atomically}, {NULL, NULL}};
  userdata_class(L, class_name, methods);
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  set_limit(L, "keyMax", STORE_KEY_MAX);
  set_limit(L, "valueMax", STORE_VALUE_MAX);
  set_limit(L, "sizeMin", STORE_SIZE_MIN);
  set_limit(L, "limitMax", STORE_LIMIT_MAX);
  set_limit(L, "always", SET_ALWAYS);
  set_limit(L, "absent", SET_ABSENT);
  set_limit(L, "present", SET_PRESENT);
  return 1;
}
