/* tls/fault.h: what went wrong, as OpenSSL tells it, and as Lua gets it.
 *
 * A fault is an error of OpenSSL's queue, or a certificate that was not believed. In Lua it is a table: `code`
 * (ERR_SSL_…, ERR_OSSL_…, or the verification's name, all as Node spells them), `message`, `library`, `reason`;
 * of a certificate also `depth` and `subject`. lrun.tls.fault makes an Error of it. */
#ifndef LRUN_TLS_FAULT_H
#define LRUN_TLS_FAULT_H

#include "tls/library.h"

#include <lua.h>

typedef struct {
  unsigned long error; /* of the queue; 0 for none */
  int verify;          /* X509_V_*, X509_V_OK for none */
  int depth;           /* of the certificate, 0 is the peer's own */
  char subject[256];   /* its name in one line */
} tls_fault_t;

/* Takes the oldest error of the queue, which tells the cause, and empties the queue. */
void tls_fault_take(tls_fault_t *fault);

/* Pushes the table. */
void tls_fault_push(lua_State *L, const tls_fault_t *fault);

/* Both: nil and the table, to be returned to Lua. */
int tls_fault_return(lua_State *L);

/* Node's name of a verification's result, such as "CERT_HAS_EXPIRED". */
const char *tls_fault_verify_name(int verify);

#endif
