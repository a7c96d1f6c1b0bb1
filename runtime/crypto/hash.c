/* crypto/hash.c: digests. A userdata owns one that is being made; the other way takes all of the data at once. */
#include "crypto/crypto.h"

#include "host/errors.h"
#include "host/userdata.h"

static const char *const class_name = "lrun.crypto.hash";

typedef struct {
  EVP_MD_CTX *context;
} hash_t;

static EVP_MD_CTX *context_at(lua_State *L) {
  const hash_t *hash = luaL_checkudata(L, 1, class_name);
  if (hash->context == NULL) luaL_error(L, "the digest was made");
  return hash->context;
}

static hash_t *push_new(lua_State *L) {
  hash_t *hash = lua_newuserdata(L, sizeof *hash);
  hash->context = crypto_lib.EVP_MD_CTX_new();
  luaL_getmetatable(L, class_name);
  lua_setmetatable(L, -2);
  return hash;
}

/* hash(name) → one of no bytes yet */
static int l_hash(lua_State *L) {
  const EVP_MD *digest = crypto_digest(luaL_checkstring(L, 1));
  libcrypto_clear();
  const hash_t *hash = push_new(L);
  if (hash->context == NULL || digest == NULL ||
      crypto_lib.EVP_DigestInit_ex(hash->context, digest, NULL) != 1)
    return crypto_failed(L);
  return 1;
}

/* copy() → another that goes on from here */
static int l_copy(lua_State *L) {
  EVP_MD_CTX *from = context_at(L);
  libcrypto_clear();
  const hash_t *hash = push_new(L);
  if (hash->context == NULL || crypto_lib.EVP_MD_CTX_copy_ex(hash->context, from) != 1)
    return crypto_failed(L);
  return 1;
}

/* update(data) → true */
static int l_update(lua_State *L) {
  EVP_MD_CTX *context = context_at(L);
  size_t len;
  const char *data = luaL_checklstring(L, 2, &len);
  libcrypto_clear();
  if (crypto_lib.EVP_DigestUpdate(context, data, len) != 1) return crypto_failed(L);
  lua_pushboolean(L, 1);
  return 1;
}

/* What it takes goes at once when it has done its work: no collector sees how much that is. */
static int l_gc(lua_State *L) {
  hash_t *hash = luaL_checkudata(L, 1, class_name);
  crypto_lib.EVP_MD_CTX_free(hash->context);
  hash->context = NULL;
  return 0;
}

/* digest(length): of one whose length is free; → bytes. Once. */
static int l_digest(lua_State *L) {
  EVP_MD_CTX *context = context_at(L);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int len = sizeof digest;
  libcrypto_clear();
  if (lua_isnoneornil(L, 2)) {
    if (crypto_lib.EVP_DigestFinal_ex(context, digest, &len) != 1) return crypto_failed(L);
    lua_pushlstring(L, (const char *)digest, len);
    l_gc(L);
    return 1;
  }
  size_t wanted = (size_t)luaL_checknumber(L, 2);
  unsigned char *room = lua_newuserdata(L, wanted + 1);
  if (crypto_lib.EVP_DigestFinalXOF(context, room, wanted) != 1) return crypto_failed(L);
  lua_pushlstring(L, (const char *)room, wanted);
  l_gc(L);
  return 1;
}

/* digest(name, data) → bytes, at once */
static int l_at_once(lua_State *L) {
  const EVP_MD *digest = crypto_digest(luaL_checkstring(L, 1));
  size_t data_len;
  const char *data = luaL_checklstring(L, 2, &data_len);
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned int len = sizeof bytes;
  libcrypto_clear();
  if (digest == NULL || crypto_lib.EVP_Digest(data, data_len, bytes, &len, digest, NULL) != 1)
    return crypto_failed(L);
  lua_pushlstring(L, (const char *)bytes, len);
  return 1;
}

void crypto_hash_open(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"update", l_update}, {"digest", l_digest}, {"copy", l_copy}, {"__gc", l_gc}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"hash", l_hash}, {"digest", l_at_once}, {NULL, NULL}};
  userdata_class(L, class_name, methods);
  luaL_register(L, NULL, functions);
}
