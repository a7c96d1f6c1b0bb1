/* tls/context.c: see tls/context.h: making a context and its settings. */
#include "tls/context.h"

#include "tls/engine.h"
#include "tls/fault.h"

#include "host/userdata.h"
#include <string.h>

tls_context_t *tls_context_at(lua_State *L, int index) { return luaL_checkudata(L, index, TLS_CONTEXT_TYPE); }

static int result(lua_State *L, bool good) {
  if (!good) return tls_fault_return(L);
  lua_pushboolean(L, 1);
  return 1;
}

/* newContext(minVersion, maxVersion): version numbers of the protocol, 0 for any. */
static int l_new(lua_State *L) {
  long lowest = (long)luaL_checkinteger(L, 1), highest = (long)luaL_checkinteger(L, 2);
  tls_context_t *context = lua_newuserdata(L, sizeof *context);
  memset(context, 0, sizeof *context);
  luaL_getmetatable(L, TLS_CONTEXT_TYPE);
  lua_setmetatable(L, -2);
  libcrypto_clear();
  SSL_CTX *ssl = tls_lib.SSL_CTX_new(tls_lib.TLS_method());
  if (ssl == NULL) return tls_fault_return(L);
  context->ssl = ssl;
  tls_lib.SSL_CTX_ctrl(ssl, SSL_CTRL_SET_MIN_PROTO_VERSION, lowest, NULL);
  tls_lib.SSL_CTX_ctrl(ssl, SSL_CTRL_SET_MAX_PROTO_VERSION, highest, NULL);
  /* Chains are completed once, by complete(), not anew for every handshake. */
  tls_lib.SSL_CTX_ctrl(ssl, SSL_CTRL_MODE, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN, NULL);
  tls_lib.SSL_CTX_ctrl(ssl, SSL_CTRL_SET_SESS_CACHE_MODE,
                       SSL_SESS_CACHE_BOTH | SSL_SESS_CACHE_NO_INTERNAL | SSL_SESS_CACHE_NO_AUTO_CLEAR, NULL);
  /* One ticket, not OpenSSL's two: each costs a twentieth of a full handshake, and who comes back gets a new one. */
  tls_lib.SSL_CTX_set_num_tickets(ssl, 1);
  tls_engine_prepare(ssl);
  return 1;
}

static int l_gc(lua_State *L) {
  tls_context_t *context = tls_context_at(L, 1);
  if (context->ssl != NULL) tls_lib.SSL_CTX_free(context->ssl);
  context->ssl = NULL;
  return 0;
}

/* ciphers(list of up to TLS 1.2 or nil, suites of TLS 1.3 or nil) */
static int l_ciphers(lua_State *L) {
  SSL_CTX *ssl = tls_context_at(L, 1)->ssl;
  const char *list = luaL_optstring(L, 2, NULL), *suites = luaL_optstring(L, 3, NULL);
  libcrypto_clear();
  bool good = suites == NULL || tls_lib.SSL_CTX_set_ciphersuites(ssl, suites) == 1;
  return result(L, good && (list == NULL || tls_lib.SSL_CTX_set_cipher_list(ssl, list) == 1));
}

/* cipherNames() → a list, the preferred one first. */
static int l_cipher_names(lua_State *L) {
  const OPENSSL_STACK *list = (const OPENSSL_STACK *)tls_lib.SSL_CTX_get_ciphers(tls_context_at(L, 1)->ssl);
  lua_newtable(L);
  for (int i = 0, count = crypto_lib.OPENSSL_sk_num(list); i < count; i++) {
    lua_pushstring(L, tls_lib.SSL_CIPHER_get_name(crypto_lib.OPENSSL_sk_value(list, i)));
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* groups(list) and sigalgs(list): names with colons between. */
static int set_list(lua_State *L, int command) {
  SSL_CTX *ssl = tls_context_at(L, 1)->ssl;
  const char *list = luaL_checkstring(L, 2);
  libcrypto_clear();
  return result(L, tls_lib.SSL_CTX_ctrl(ssl, command, 0, (void *)list) == 1);
}
static int l_groups(lua_State *L) { return set_list(L, SSL_CTRL_SET_GROUPS_LIST); }
static int l_sigalgs(lua_State *L) { return set_list(L, SSL_CTRL_SET_SIGALGS_LIST); }

/* dh(nil: parameters as strong as the certificate's key; or PEM) → true and the size in bits of those given */
static int l_dh(lua_State *L) {
  SSL_CTX *ssl = tls_context_at(L, 1)->ssl;
  size_t len;
  const char *pem = luaL_optlstring(L, 2, NULL, &len);
  libcrypto_clear();
  if (pem == NULL) return result(L, tls_lib.SSL_CTX_ctrl(ssl, SSL_CTRL_SET_DH_AUTO, 1, NULL) == 1);
  BIO *bio = crypto_lib.BIO_new_mem_buf(pem, (int)len);
  EVP_PKEY *key = bio != NULL ? crypto_lib.PEM_read_bio_Parameters(bio, NULL) : NULL;
  crypto_lib.BIO_free(bio);
  if (key == NULL) return tls_fault_return(L);
  int bits = crypto_lib.EVP_PKEY_get_bits(key);
  if (tls_lib.SSL_CTX_set0_tmp_dh_pkey(ssl, key) != 1) {
    crypto_lib.EVP_PKEY_free(key);
    return tls_fault_return(L);
  }
  lua_pushboolean(L, 1);
  lua_pushinteger(L, bits);
  return 2;
}

/* options(bits to set, bits to clear): SSL_OP_* */
static int l_options(lua_State *L) {
  SSL_CTX *ssl = tls_context_at(L, 1)->ssl;
  tls_lib.SSL_CTX_set_options(ssl, (uint64_t)luaL_checknumber(L, 2));
  tls_lib.SSL_CTX_clear_options(ssl, (uint64_t)luaL_optnumber(L, 3, 0));
  return 0;
}

/* sessionIdContext(bytes): sessions of servers with another one are not taken; hashed, so of any length. */
static int l_session_id_context(lua_State *L) {
  unsigned char digest[32];
  size_t len;
  const char *bytes = luaL_checklstring(L, 2, &len);
  libcrypto_clear();
  bool good = crypto_lib.EVP_Digest(bytes, len, digest, NULL, crypto_lib.EVP_sha256(), NULL) == 1;
  return result(L, good && tls_lib.SSL_CTX_set_session_id_context(tls_context_at(L, 1)->ssl, digest,
                                                                  sizeof digest) == 1);
}

/* sessionTimeout(seconds) */
static int l_session_timeout(lua_State *L) {
  tls_lib.SSL_CTX_set_timeout(tls_context_at(L, 1)->ssl, (long)luaL_checkinteger(L, 2));
  return 0;
}

/* ocsp(bytes): a response that goes out with the certificate to every client that asks. */
static int l_ocsp(lua_State *L) {
  size_t len = 0;
  const char *bytes = luaL_checklstring(L, 2, &len);
  const unsigned char *at = (const unsigned char *)bytes;
  libcrypto_clear();
  OCSP_RESPONSE *response = crypto_lib.d2i_OCSP_RESPONSE(NULL, &at, (long)len);
  if (response == NULL) return result(L, false);
  crypto_lib.OCSP_RESPONSE_free(response);
  bool good = tls_engine_staple(tls_context_at(L, 1)->ssl, bytes, len);
  return result(L, good);
}

/* complete(): adds to the certificate what the store has of its chain. */
static int l_complete(lua_State *L) {
  libcrypto_clear();
  tls_lib.SSL_CTX_ctrl(tls_context_at(L, 1)->ssl, SSL_CTRL_BUILD_CERT_CHAIN,
                       SSL_BUILD_CHAIN_FLAG_UNTRUSTED | SSL_BUILD_CHAIN_FLAG_NO_ROOT |
                           SSL_BUILD_CHAIN_FLAG_IGNORE_ERROR | SSL_BUILD_CHAIN_FLAG_CLEAR_ERROR,
                       NULL);
  libcrypto_clear();
  return 0;
}

/* keylog(): its connections tell their secrets to those that want them. */
static int l_keylog(lua_State *L) {
  tls_engine_keylog(tls_context_at(L, 1)->ssl);
  return 0;
}

void tls_context_open(lua_State *L) {
  static const luaL_Reg methods[] = {{"__gc", l_gc},
                                     {"identity", tls_context_identity},
                                     {"pfx", tls_context_pfx},
                                     {"certificate", tls_context_certificate},
                                     {"addCA", tls_context_add_ca},
                                     {"addCRL", tls_context_add_crl},
                                     {"systemStore", tls_context_system_store},
                                     {"ciphers", l_ciphers},
                                     {"cipherNames", l_cipher_names},
                                     {"groups", l_groups},
                                     {"sigalgs", l_sigalgs},
                                     {"dh", l_dh},
                                     {"options", l_options},
                                     {"sessionIdContext", l_session_id_context},
                                     {"sessionTimeout", l_session_timeout},
                                     {"ocsp", l_ocsp},
                                     {"complete", l_complete},
                                     {"keylog", l_keylog},
                                     {NULL, NULL}};
  userdata_class(L, TLS_CONTEXT_TYPE, methods);
  lua_pushcfunction(L, l_new);
  lua_setfield(L, -2, "newContext");
}
