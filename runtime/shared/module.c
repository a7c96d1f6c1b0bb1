/* shared/module.c: the module `lrun.core.shared`, on which lualib/shared.lua builds: opens dictionaries; the locks of keys, and who
 * listens. The methods are single.c's and update.c's, too: see shared/dict.h. */
#include "shared/dict.h"

#include "host/modules.h"
#include "host/userdata.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

static bool lock_byte(const store_t *store, const store_key_t *key, short type) {
  struct flock lock = {
      .l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)(store_hash(key) >> 2), .l_len = 1};
  return fcntl(store->notes_fd, F_OFD_SETLK, &lock) == 0;
}

/* lock(key) → whether this process has it now; the kernel frees it when the process dies. */
static int l_lock(lua_State *L) {
  store_key_t key;
  dict_t *dict = dict_at(L, 1);
  dict_read_key(L, 2, &key);
  lua_pushboolean(L, lock_byte(&dict->store, &key, F_WRLCK));
  return 1;
}

static int l_unlock(lua_State *L) {
  store_key_t key;
  dict_t *dict = dict_at(L, 1);
  dict_read_key(L, 2, &key);
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
  lua_pushboolean(L, dict_is_heard(&dict_at(L, 1)->store));
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
  dict_t *dict = luaL_checkudata(L, 1, DICT_CLASS);
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
  luaL_getmetatable(L, DICT_CLASS);
  lua_setmetatable(L, -2);
  int rc = strlen(options.path) > 4000 ? ENAMETOOLONG : store_open(&options, &dict->store);
  if (rc != 0) return dict_failed(L, rc);
  dict->open = true;
  return 1;
}

/* flock of a folder that is open as `fd`: true, or false when it cannot be had now. */
static int locked(lua_State *L, int operation) {
  int fd = (int)luaL_checkinteger(L, 1), rc;
  do rc = flock(fd, operation);
  while (rc < 0 && errno == EINTR);
  lua_pushboolean(L, rc == 0);
  return 1;
}

/* hold(fd) → boolean: with others who hold it; waits for one who has it alone, who is quick */
static int l_hold(lua_State *L) { return locked(L, LOCK_SH); }

/* claim(fd) → boolean: alone, now */
static int l_claim(lua_State *L) { return locked(L, LOCK_EX | LOCK_NB); }

static void set_limit(lua_State *L, const char *name, lua_Number value) {
  lua_pushnumber(L, value);
  lua_setfield(L, -2, name);
}

int luaopen_lrun_shared(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"lock", l_lock},       {"unlock", l_unlock}, {"listen", l_listen}, {"isHeard", l_is_heard},
      {"accepts", l_accepts}, {"close", l_close},   {"__gc", l_close},    {NULL, NULL}};
  static const luaL_Reg functions[] = {{"open", l_open}, {"hold", l_hold}, {"claim", l_claim}, {NULL, NULL}};
  userdata_class(L, DICT_CLASS, methods);
  luaL_getmetatable(L, DICT_CLASS);
  luaL_register(L, NULL, dict_single_methods);
  luaL_register(L, NULL, dict_update_methods);
  lua_pop(L, 1);
  dict_guards(L);
  dict_single_guards(L);
  dict_update_guards(L);
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
