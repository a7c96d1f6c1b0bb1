/* files/files.h: what the files of this room put into the module `lrun.core.files`. Each function adds its own to the
 * table on top of the stack. */
#ifndef LRUN_FILES_FILES_H
#define LRUN_FILES_FILES_H

#include <lua.h>
#include <sys/stat.h>

void files_list_register(lua_State *L);  /* list.c: what is in directories */
void files_lock_register(lua_State *L);  /* lock.c: flock */
void files_names_register(lua_State *L); /* names.c: access, readlink, realpath */
void files_owner_register(lua_State *L); /* owner.c: descriptors that are closed with what holds them */
void files_piece_register(lua_State *L); /* piece.c: files that streams send */
void files_read_register(lua_State *L);  /* read.c: open, read, close, whole files */
void files_stat_register(lua_State *L);  /* stat.c: stat, lstat, fstat, exists */
void files_turns_register(lua_State *L); /* turns.c: the delivery of answers that were there at once */

/* Leaves the numbers that fs makes its Stats from where `told` in lrun/fs/stats.lua reads them. */
void files_tell_stat(const struct statx *stat);

#endif
