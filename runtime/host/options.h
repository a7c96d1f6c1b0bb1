/* host/options.h: the command line. */
#ifndef LRUN_HOST_OPTIONS_H
#define LRUN_HOST_OPTIONS_H

#include <lua.h>

/* Reads the command line and pushes a table for lualib/lrun/host/boot.lua:
 *   { lrun = argv[0], mode = "run" | "check" | "help" | "version" | "completion", shell = string?,
 * interactive = boolean, title = string?, script = string?, args = { … }, execArgv = { … }, steps = { { kind
 * = "-e" | "-p" | "-l" | "-j" | "-O", value = string }, … } } On wrong usage prints one line and returns 2;
 * else 0. */
int options_push(lua_State *L, int argc, char **argv);

#endif
