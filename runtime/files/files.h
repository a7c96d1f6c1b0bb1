/* files/files.h: what the files of this room put into the module `lrun.core.files`. Each function adds its own to the
 * table on top of the stack. */
#ifndef LRUN_FILES_FILES_H
#define LRUN_FILES_FILES_H

#include <lua.h>

void files_lock_register(lua_State *L);  /* lock.c: flock */
void files_owner_register(lua_State *L); /* owner.c: descriptors that are closed with what holds them */

#endif
