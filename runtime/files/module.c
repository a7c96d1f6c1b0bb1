/* files/module.c: the module `lrun.core.files`: what fs needs of the system that libuv's pool does not offer. Each
 * function is beside what it owns; here is only the table of them. */
#include "files/files.h"

#include "host/modules.h"

int luaopen_lrun_files(lua_State *L) {
  lua_newtable(L);
  files_lock_register(L);
  files_owner_register(L);
  return 1;
}
