/* tls/certificate.h: certificates as Lua tables, with the fields that Node gives them. */
#ifndef LRUN_TLS_CERTIFICATE_H
#define LRUN_TLS_CERTIFICATE_H

#include "tls/library.h"

#include <lua.h>

/* Pushes the table. */
void tls_certificate_push(lua_State *L, X509 *certificate);

/* tls/names.c: sets `subjectaltname` and `infoAccess` of the table on top where the certificate has them. */
void tls_certificate_names(lua_State *L, X509 *certificate);

#endif
