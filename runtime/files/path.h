/* files/path.h: arguments and results that the functions of this room have in common. */
#ifndef LRUN_FILES_PATH_H
#define LRUN_FILES_PATH_H

#include <lua.h>

/* A path that fs has checked: a string without NUL. */
const char *files_path(lua_State *L, int index);

/* What an attempt returns that has no value: false for ATTEMPT_POOL, else nil and the name of the final code. */
int files_unanswered(lua_State *L, int rc);

#endif
