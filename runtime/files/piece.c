/* files/piece.c: what is asked where a file is sent in pieces: how much of it there is, and for a descriptor of its own, which lasts
 * as long as a piece is under way, whoever closes the one that the program sees. */
#include "files/attempt.h"
#include "files/files.h"

#include <fcntl.h>
#include <lauxlib.h>
#include <unistd.h>

/* ahead(fd, offset) → the bytes that the file has from there on, now; nil where its size may not be the truth, or is no size of
 * bytes: of what is no regular file, or on no local file system */
static int l_ahead(lua_State *L) {
  struct statx stat;
  mount_t *mount;
  lua_Number offset = luaL_checknumber(L, 2);
  if (attempt_look((int)luaL_checkinteger(L, 1), &stat, &mount) != 0 || !S_ISREG(stat.stx_mode)) return 0;
  lua_Number left = (lua_Number)stat.stx_size - offset;
  lua_pushnumber(L, left > 0 ? left : 0);
  return 1;
}

/* hold(fd) → a descriptor of the same open file; nil where there is none left. release(fd) closes it. */
static int l_hold(lua_State *L) {
  int fd = fcntl((int)luaL_checkinteger(L, 1), F_DUPFD_CLOEXEC, 3);
  if (fd < 0) return 0;
  lua_pushinteger(L, fd);
  return 1;
}

static int l_release(lua_State *L) {
  close((int)luaL_checkinteger(L, 1));
  return 0;
}

void files_piece_register(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"ahead", l_ahead}, {"hold", l_hold}, {"release", l_release}, {NULL, NULL}};
  luaL_register(L, NULL, functions);
}
