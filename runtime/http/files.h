/* http/files.h: the part of the module `lrun.core.http` that answers with files. */
#ifndef LRUN_HTTP_FILES_H
#define LRUN_HTTP_FILES_H

#include <lua.h>

/* In what fileTry returns: the root of the site was opened, and is to be closed in a while. */
enum { HTTP_FILES_OPENED = 1024 };

/* Adds its functions to the table on top. */
void http_files_register(lua_State *L);

#endif
