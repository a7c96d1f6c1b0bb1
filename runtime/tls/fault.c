/* tls/fault.c: see tls/fault.h. */
#include "tls/fault.h"

#include "libcrypto/fault.h"

#include <lauxlib.h>

void tls_fault_take(tls_fault_t *fault) { fault->error = libcrypto_fault_take(); }

const char *tls_fault_verify_name(int verify) {
  static const struct {
    int code;
    const char *name;
  } names[] = {
#define NAME(name) {X509_V_ERR_##name, #name},
      NAME(UNABLE_TO_GET_ISSUER_CERT) NAME(UNABLE_TO_GET_CRL) NAME(UNABLE_TO_DECRYPT_CERT_SIGNATURE)
          NAME(UNABLE_TO_DECRYPT_CRL_SIGNATURE) NAME(UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY)
              NAME(CERT_SIGNATURE_FAILURE) NAME(CRL_SIGNATURE_FAILURE) NAME(CERT_NOT_YET_VALID)
                  NAME(CERT_HAS_EXPIRED) NAME(CRL_NOT_YET_VALID) NAME(CRL_HAS_EXPIRED)
                      NAME(ERROR_IN_CERT_NOT_BEFORE_FIELD) NAME(ERROR_IN_CERT_NOT_AFTER_FIELD)
                          NAME(ERROR_IN_CRL_LAST_UPDATE_FIELD) NAME(ERROR_IN_CRL_NEXT_UPDATE_FIELD) NAME(
                              OUT_OF_MEM) NAME(DEPTH_ZERO_SELF_SIGNED_CERT) NAME(SELF_SIGNED_CERT_IN_CHAIN)
                              NAME(UNABLE_TO_GET_ISSUER_CERT_LOCALLY) NAME(UNABLE_TO_VERIFY_LEAF_SIGNATURE)
                                  NAME(CERT_CHAIN_TOO_LONG) NAME(CERT_REVOKED) NAME(INVALID_CA)
                                      NAME(PATH_LENGTH_EXCEEDED) NAME(INVALID_PURPOSE) NAME(CERT_UNTRUSTED)
                                          NAME(CERT_REJECTED) NAME(HOSTNAME_MISMATCH) NAME(EE_KEY_TOO_SMALL)
                                              NAME(CA_KEY_TOO_SMALL) NAME(CA_MD_TOO_WEAK)
                                                  NAME(UNABLE_TO_GET_CRL_ISSUER) NAME(KEYUSAGE_NO_CERTSIGN)
                                                      NAME(UNHANDLED_CRITICAL_EXTENSION)
                                                          NAME(PERMITTED_VIOLATION) NAME(EXCLUDED_VIOLATION)
#undef NAME
  };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (names[i].code == verify) return names[i].name;
  }
  return "UNSPECIFIED";
}

static void set(lua_State *L, const char *name, const char *value) {
  lua_pushstring(L, value);
  lua_setfield(L, -2, name);
}

static void push_verification(lua_State *L, const tls_fault_t *fault) {
  const char *reason = crypto_lib.X509_verify_cert_error_string(fault->verify);
  set(L, "code", tls_fault_verify_name(fault->verify));
  set(L, "reason", reason);
  set(L, "subject", fault->subject);
  lua_pushinteger(L, fault->depth);
  lua_setfield(L, -2, "depth");
  lua_pushfstring(L, "%s (certificate at depth %d: %s)", reason, fault->depth, fault->subject);
  lua_setfield(L, -2, "message");
}

void tls_fault_push(lua_State *L, const tls_fault_t *fault) {
  if (fault->verify == X509_V_OK) {
    libcrypto_fault_push(L, fault->error);
    return;
  }
  luaL_checkstack(L, 4, "tls fault");
  lua_createtable(L, 0, 5);
  push_verification(L, fault);
}

int tls_fault_return(lua_State *L) {
  tls_fault_t fault = {0};
  tls_fault_take(&fault);
  lua_pushnil(L);
  tls_fault_push(L, &fault);
  return 2;
}
