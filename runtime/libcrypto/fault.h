/* libcrypto/fault.h: what OpenSSL says went wrong, as Lua gets it: a table with `code` (ERR_SSL_…, ERR_OSSL_…, as Node
 * spells them), `message`, `library`, `reason`. lrun.tls.fault and lrun.crypto.library make Errors of it. */
#ifndef LRUN_LIBCRYPTO_FAULT_H
#define LRUN_LIBCRYPTO_FAULT_H

#include <lua.h>

/* Takes the oldest error of this thread's queue, which tells the cause, and empties the queue. 0 when there is none. */
unsigned long libcrypto_fault_take(void);

/* Pushes the table of an error that was taken. */
void libcrypto_fault_push(lua_State *L, unsigned long error);

#endif
