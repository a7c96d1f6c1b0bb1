/* tls/context.h: what many connections share: certificates and keys, trusted authorities, versions, ciphers.
 *
 * A context is a userdata around an SSL_CTX, filled by methods that each return true, or nil and a fault (tls/fault.h);
 * lrun.tls.context calls them and names the option. Connections keep the SSL_CTX alive, so a context may be replaced
 * while they live. */
#ifndef LRUN_TLS_CONTEXT_H
#define LRUN_TLS_CONTEXT_H

#include "tls/library.h"

#include <lua.h>

#define TLS_CONTEXT_TYPE "lrun.tls.context"

typedef struct {
  SSL_CTX *ssl;   /* NULL once collected */
  bool own_store; /* not the system's, which all contexts share */
} tls_context_t;

tls_context_t *tls_context_at(lua_State *L, int index);

/* Registers the class and puts newContext into the table on top. */
void tls_context_open(lua_State *L);

/* tls/identity.c: methods that load certificates and keys. */
int tls_context_identity(lua_State *L);
int tls_context_pfx(lua_State *L);
int tls_context_certificate(lua_State *L);

/* tls/store.c: methods that load authorities and revocation lists. */
int tls_context_add_ca(lua_State *L);
int tls_context_add_crl(lua_State *L);
int tls_context_system_store(lua_State *L);
/* The context's own store, made if there is none, or NULL. */
X509_STORE *tls_context_store(tls_context_t *context);

#endif
