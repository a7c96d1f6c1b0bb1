/* crypto/mac.c: HMAC. A userdata owns one that is being made. */
#include "crypto/crypto.h"

#include "host/userdata.h"

static const char *const class_name = "lrun.crypto.mac";

typedef struct {
  EVP_MAC_CTX *context;
} mac_t;

static EVP_MAC_CTX *context_at(lua_State *L) {
  const mac_t *mac = luaL_checkudata(L, 1, class_name);
  if (mac->context == NULL) luaL_error(L, "the digest was made");
  return mac->context;
}

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
  mac_t *mac = lua_newuserdata(L, sizeof *mac);
  mac->context = new_context();
  luaL_getmetatable(L, class_name);
  lua_setmetatable(L, -2);
  if (mac->context == NULL || digest == NULL) return crypto_failed(L);
  OSSL_PARAM params[] = {crypto_lib.OSSL_PARAM_construct_utf8_string(
                             OSSL_MAC_PARAM_DIGEST, (char *)crypto_lib.EVP_MD_get0_name(digest), 0),
                         crypto_lib.OSSL_PARAM_construct_end()};
  if (crypto_lib.EVP_MAC_init(mac->context, (const unsigned char *)key, key_len, params) != 1)
    return crypto_failed(L);
  return 1;
}

/* update(data) → true */
static int l_update(lua_State *L) {
  EVP_MAC_CTX *context = context_at(L);
  size_t len;
  const char *data = luaL_checklstring(L, 2, &len);
  libcrypto_clear();
  if (crypto_lib.EVP_MAC_update(context, (const unsigned char *)data, len) != 1) return crypto_failed(L);
  lua_pushboolean(L, 1);
  return 1;
}

/* What it takes goes at once when it has done its work: no collector sees how much that is. */
static int l_gc(lua_State *L) {
  mac_t *mac = luaL_checkudata(L, 1, class_name);
  crypto_lib.EVP_MAC_CTX_free(mac->context);
  mac->context = NULL;
  return 0;
}

/* digest() → bytes. Once. */
static int l_digest(lua_State *L) {
  EVP_MAC_CTX *context = context_at(L);
  unsigned char bytes[EVP_MAX_MD_SIZE];
  size_t len = 0;
  libcrypto_clear();
  if (crypto_lib.EVP_MAC_final(context, bytes, &len, sizeof bytes) != 1) return crypto_failed(L);
  lua_pushlstring(L, (const char *)bytes, len);
  l_gc(L);
  return 1;
}

void crypto_mac_open(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"update", l_update}, {"digest", l_digest}, {"__gc", l_gc}, {NULL, NULL}};
  userdata_class(L, class_name, methods);
  lua_pushcfunction(L, l_mac);
  lua_setfield(L, -2, "mac");
}
