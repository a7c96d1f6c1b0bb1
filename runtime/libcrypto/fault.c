/* libcrypto/fault.c: see libcrypto/fault.h. */
#include "libcrypto/fault.h"

#include "libcrypto/library.h"
#include <openssl/ssl.h>

#include <ctype.h>
#include <lauxlib.h>
#include <stdio.h>

unsigned long libcrypto_fault_take(void) {
  unsigned long error = crypto_lib.ERR_peek_error();
  crypto_lib.ERR_clear_error();
  return error;
}

/* The short names that Node puts before a reason. SSL's is the prefix itself. */
static const char *library_name(int library) {
  switch (library) {
  case ERR_LIB_SYS: return "SYSTEM_";
  case ERR_LIB_BN: return "BN_";
  case ERR_LIB_RSA: return "RSA_";
  case ERR_LIB_DSA: return "DSA_";
  case ERR_LIB_DH: return "DH_";
  case ERR_LIB_EVP: return "EVP_";
  case ERR_LIB_PEM: return "PEM_";
  case ERR_LIB_X509: return "X509_";
  case ERR_LIB_X509V3: return "X509V3_";
  case ERR_LIB_ASN1: return "ASN1_";
  case ERR_LIB_EC: return "EC_";
  case ERR_LIB_BIO: return "BIO_";
  case ERR_LIB_CRYPTO: return "CRYPTO_";
  case ERR_LIB_RAND: return "RAND_";
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

void libcrypto_fault_push(lua_State *L, unsigned long error) {
  luaL_checkstack(L, 4, "a fault of OpenSSL");
  lua_createtable(L, 0, 4);
  char other[64];
  const char *library = crypto_lib.ERR_lib_error_string(error);
  const char *reason = crypto_lib.ERR_reason_error_string(error);
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
