/* host/errors.h: negative libuv codes and argument errors as Lua error objects; nothing else makes them from C. A
 * function of a C module returns a failure (nil and the error) that a program may meet, and throws what only a wrong
 * call leads to. */
#ifndef LRUN_HOST_ERRORS_H
#define LRUN_HOST_ERRORS_H

#include <lua.h>

/* Returns `true` to Lua when rc >= 0, else `nil` and the error object (message "syscall CODE", code, errno,
 * syscall). Use it as a C function's return: `return errors_result(L, rc, "write");` */
int errors_result(lua_State *L, int rc, const char *syscall);

/* The same with the code's name, such as "EADDRINUSE", for the error object: where the caller in Lua makes one that
 * names the address or path as well. */
int errors_code(lua_State *L, int rc);

/* Pushes the error object for a negative libuv code. */
void errors_push(lua_State *L, int rc, const char *syscall);

/* Throws `The "name" argument must be of type <expected>. Received …` (ERR_INVALID_ARG_TYPE); `index` is the
 * value. Never returns; the type allows `return errors_type(...)`. */
int errors_type(lua_State *L, const char *name, const char *expected, int index) __attribute__((noreturn));

/* Throws an error object with the code and message given. Never returns. */
int errors_throw(lua_State *L, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4), noreturn));

#endif
