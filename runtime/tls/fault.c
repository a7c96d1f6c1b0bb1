/* tls/fault.c: see tls/fault.h. */
#include "tls/fault.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

void tls_fault_take(tls_fault_t *fault) {
  fault->error = tls_lib.ERR_peek_error();
  tls_lib.ERR_clear_error();
}

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

/* The short names that Node puts before a reason. SSL's is the prefix itself. */
static const char *library_name(int library) {
  switch (library) {
  case ERR_LIB_SYS: return "SYSTEM_";
  case ERR_LIB_BN: return "BN_";
  case ERR_LIB_RSA: return "RSA_";
  case ERR_LIB_DH: return "DH_";
  case ERR_LIB_EVP: return "EVP_";
  case ERR_LIB_PEM: return "PEM_";
  case ERR_LIB_X509: return "X509_";
  case ERR_LIB_X509V3: return "X509V3_";
  case ERR_LIB_ASN1: return "ASN1_";
  case ERR_LIB_EC: return "EC_";
  case ERR_LIB_PKCS12: return "PKCS12_";
  case ERR_LIB_OCSP: return "OCSP_";
  default: return "";
  }
}

/* "ERR_SSL_WRONG_VERSION_NUMBER" of "wrong version number". */
static void push_code(lua_State *L, unsigned long error, const char *reason) {
  char code[160];
  int library = ERR_GET_LIB(error);
  int n = library == ERR_LIB_SSL
              ? snprintf(code, sizeof code, "ERR_SSL_%s", reason)
              : snprintf(code, sizeof code, "ERR_OSSL_%s%s", library_name(library), reason);
  for (int i = 0; i < n && code[i] != '\0'; i++)
    code[i] = code[i] == ' ' || code[i] == '-' ? '_' : (char)toupper((unsigned char)code[i]);
  lua_pushstring(L, code);
}

static void set(lua_State *L, const char *name, const char *value) {
  lua_pushstring(L, value);
  lua_setfield(L, -2, name);
}

static void push_verification(lua_State *L, const tls_fault_t *fault) {
  const char *reason = tls_lib.X509_verify_cert_error_string(fault->verify);
  set(L, "code", tls_fault_verify_name(fault->verify));
  set(L, "reason", reason);
  set(L, "subject", fault->subject);
  lua_pushinteger(L, fault->depth);
  lua_setfield(L, -2, "depth");
  lua_pushfstring(L, "%s (certificate at depth %d: %s)", reason, fault->depth, fault->subject);
  lua_setfield(L, -2, "message");
}

static void push_error(lua_State *L, unsigned long error) {
  char other[64];
  const char *library = tls_lib.ERR_lib_error_string(error);
  const char *reason = tls_lib.ERR_reason_error_string(error);
  if (library == NULL) library = "OpenSSL";
  if (reason == NULL) {
    snprintf(other, sizeof other, error == 0 ? "unknown failure" : "reason %d", ERR_GET_REASON(error));
    reason = other;
  }
  push_code(L, error, reason);
  lua_setfield(L, -2, "code");
  set(L, "library", library);
  set(L, "reason", reason);
  lua_pushfstring(L, "%s: %s", library, reason);
  lua_setfield(L, -2, "message");
}

void tls_fault_push(lua_State *L, const tls_fault_t *fault) {
  luaL_checkstack(L, 4, "tls fault");
  lua_createtable(L, 0, 6);
  if (fault->verify != X509_V_OK) push_verification(L, fault);
  else push_error(L, fault->error);
}

int tls_fault_return(lua_State *L) {
  tls_fault_t fault = {0};
  tls_fault_take(&fault);
  lua_pushnil(L);
  tls_fault_push(L, &fault);
  return 2;
}
