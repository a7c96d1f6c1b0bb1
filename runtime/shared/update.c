/* shared/update.c: a function of the program's within a change. See shared/dict.h. It cannot yield, and while it runs this process
 * changes no other dictionary. Whatever it throws, and where memory runs out, the change ends here. */
#include "shared/dict.h"

/* Those of any dictionary of this process that are under way: one, or none. */
static _Thread_local int updates;

int dict_updates(void) { return updates; }

/* What the key holds, for `update_guarded`; NULL for nothing. */
static _Thread_local const found_t *current;

/* renew, f → result, stored, isTable */
static int update_guarded(lua_State *L) {
  lua_settop(L, 2);
  if (current) dict_push_value(L, current);
  lua_settop(L, 4);
  lua_call(L, 3, 3);
  return 3;
}

static lua_CFunction guard = update_guarded;

enum { RESULT = 5, STORED }; /* where what the function gave is on the stack */

/* Writes what came of it, in the place of `found`, and keeps its time; rc says whether there was one. */
static int put_result(lua_State *L, store_t *store, const store_key_t *key, int rc, const found_t *found) {
  value_t value;
  double ends = rc == 0 ? found->head.ends : 0;
  if (lua_isnil(L, RESULT)) {
    rc = store_delete(store, key);
    return rc == MDB_NOTFOUND ? 0 : rc;
  }
  dict_read_value(L, STORED, &value);
  return dict_put_value(store, key, &value, ends);
}

/* update(key, renew, f) → true, result, heard: the key gets what renew(f, value or nil, isTable) gives as result, stored and
 * isTable; nil takes it away. false and the error when that throws. */
static int l_update(lua_State *L) {
  store_t *store = dict_writable(L, 1);
  if (!store) return dict_busy(L);
  store_key_t key;
  found_t found;
  dict_read_key(L, 2, &key);
  lua_settop(L, 4);
  int rc = store_write_begin(store);
  if (rc != 0) return dict_failed(L, rc);
  rc = store_find(store, store->writer, &key, &found);
  if (rc == 0 && !dict_is_value(&found)) rc = STORE_KIND;
  if (rc != 0 && rc != MDB_NOTFOUND) {
    store_write_abort(store);
    return dict_failed(L, rc);
  }
  dict_kept(L, &guard);
  lua_pushvalue(L, 3);
  lua_pushvalue(L, 4);
  current = rc == 0 ? &found : NULL;
  updates++;
  int failure = lua_pcall(L, 2, 3, 0);
  updates--;
  if (failure != 0) {
    store_write_abort(store);
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
  }
  rc = put_result(L, store, &key, rc, &found);
  if (rc == 0) rc = store_write_commit(store);
  else store_write_abort(store);
  if (rc != 0) return dict_failed(L, rc);
  lua_pushboolean(L, 1);
  lua_pushvalue(L, RESULT);
  return dict_changed(L, store, 2);
}

void dict_update_guards(lua_State *L) { dict_keep(L, &guard); }

const luaL_Reg dict_update_methods[] = {{"update", l_update}, {NULL, NULL}};
