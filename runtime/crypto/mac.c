/* crypto/mac.c: HMAC, made piece by piece (crypto/digest.h). */
#include "crypto/crypto.h"
#include "crypto/digest.h"

static bool update(void *context, const char *data, size_t len) {
  return crypto_lib.EVP_MAC_update(context, (const unsigned char *)data, len) == 1;
}

static bool finish(void *context, unsigned char *bytes, size_t *len) {
  return crypto_lib.EVP_MAC_final(context, bytes, len, *len) == 1;
}

static void drop(void *context) { crypto_lib.EVP_MAC_CTX_free(context); }

static const digest_kind_t kind = {
    .class_name = "lrun.crypto.mac", .update = update, .finish = finish, .free = drop};

static EVP_MAC_CTX *new_context(void) {
  static EVP_MAC *hmac; /* for the life of the process */
  if (hmac == NULL) hmac = crypto_lib.EVP_MAC_fetch(NULL, "HMAC", NULL);
  return hmac != NULL ? crypto_lib.EVP_MAC_CTX_new(hmac) : NULL;
}

/* mac(digest, key) → one of no bytes yet */
static int l_mac(lua_State *L) {
  const EVP_MD *digest = crypto_digest(luaL_checkstring(L, 1));
  size_t key_len;
  const char *key = luaL_checklstring(L, 2, &key_len);
  libcrypto_clear();
  void **slot = digest_push(L, &kind);
  EVP_MAC_CTX *context = *slot = new_context();
  if (context == NULL || digest == NULL) return crypto_failed(L);
  OSSL_PARAM params[] = {crypto_lib.OSSL_PARAM_construct_utf8_string(
                             OSSL_MAC_PARAM_DIGEST, (char *)crypto_lib.EVP_MD_get0_name(digest), 0),
                         crypto_lib.OSSL_PARAM_construct_end()};
  if (crypto_lib.EVP_MAC_init(context, (const unsigned char *)key, key_len, params) != 1)
    return crypto_failed(L);
  return 1;
}

void crypto_mac_open(lua_State *L) {
  static const luaL_Reg methods[] = {{NULL, NULL}};
  digest_class(L, &kind, methods);
  lua_pushcfunction(L, l_mac);
  lua_setfield(L, -2, "mac");
}
