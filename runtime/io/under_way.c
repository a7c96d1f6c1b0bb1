/* io/under_way.c: owns the list of all that is under way in a VM; see io/under_way.h. */
#include "io/under_way.h"

#include "host/vm.h"

#include <lauxlib.h>

LIST_HEAD(all, under_way);

static const char key = 'u'; /* its address is the registry key of the list */

static void forget_all(void *data) {
  struct all *all = data;
  under_way_t *it;
  while ((it = LIST_FIRST(all)) != NULL) {
    LIST_REMOVE(it, link);
    it->L = NULL;
  }
}

static struct all *all_of(lua_State *L) {
  lua_pushlightuserdata(L, (void *)&key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  struct all *all = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (all != NULL) return all;
  lua_pushlightuserdata(L, (void *)&key);
  all = lua_newuserdata(L, sizeof *all);
  LIST_INIT(all);
  lua_rawset(L, LUA_REGISTRYINDEX);
  vm_at_exit(vm_of(L), forget_all, all);
  return all;
}

void under_way_begin(lua_State *L, under_way_t *it) {
  struct all *all = all_of(L);
  it->ref = luaL_ref(L, LUA_REGISTRYINDEX);
  it->L = vm_state(vm_of(L));
  LIST_INSERT_HEAD(all, it, link);
}

void under_way_end(under_way_t *it) {
  if (it->L == NULL) return;
  luaL_unref(it->L, LUA_REGISTRYINDEX, it->ref);
  LIST_REMOVE(it, link);
}
