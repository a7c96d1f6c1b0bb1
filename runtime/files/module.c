/* files/module.c: the module `lrun.core.files`: what fs needs of the system. Each function is beside what it owns; here is
 * the table of them, and what is told of the attempts. */
#include "files/attempt.h"
#include "files/files.h"
#include "host/modules.h"

#include <lauxlib.h>

/* refused() → a list of what is not tried any more */
static int l_refused(lua_State *L) {
  const struct {
    const char *name;
    bool refused;
  } calls[] = {{"openat2", attempt_refused.openat2},
               {"statx", attempt_refused.statx},
               {"preadv2", attempt_refused.preadv2},
               {"faccessat2", attempt_refused.faccessat2},
               {"/proc", attempt_refused.proc}};
  int count = 0;
  lua_newtable(L);
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    if (!calls[i].refused) continue;
    lua_pushstring(L, calls[i].name);
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

/* mountsFrom(path or nil): for specs */
static int l_mounts_from(lua_State *L) {
  mounts_read_from(luaL_optstring(L, 1, NULL));
  return 0;
}

int luaopen_lrun_files(lua_State *L) {
  static const luaL_Reg functions[] = {{"refused", l_refused}, {"mountsFrom", l_mounts_from}, {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  files_list_register(L);
  files_lock_register(L);
  files_names_register(L);
  files_owner_register(L);
  files_piece_register(L);
  files_read_register(L);
  files_stat_register(L);
  files_turns_register(L);
  return 1;
}
