/* crypto/hash.c: digests: one that is made piece by piece (crypto/digest.h), or of all of the data at once. */
#include "crypto/crypto.h"
#include "crypto/digest.h"

static bool update(void *context, const char *data, size_t len) {
  return crypto_lib.EVP_DigestUpdate(context, data, len) == 1;
}

static bool finish(void *context, unsigned char *bytes, size_t *len) {
  unsigned int made = (unsigned int)*len;
  bool good = crypto_lib.EVP_DigestFinal_ex(context, bytes, &made) == 1;
  *len = made;
  return good;
}

static void drop(void *context) { crypto_lib.EVP_MD_CTX_free(context); }

static const digest_kind_t kind = {
    .class_name = "lrun.crypto.hash", .update = update, .finish = finish, .free = drop};

static EVP_MD_CTX *push_new(lua_State *L) {
  void **context = digest_push(L, &kind);
  return *context = crypto_lib.EVP_MD_CTX_new();
}

/* hash(name) → one of no bytes yet */
static int l_hash(lua_State *L) {
  const EVP_MD *digest = crypto_digest(luaL_checkstring(L, 1));
  libcrypto_clear();
  EVP_MD_CTX *context = push_new(L);
  if (context == NULL || digest == NULL || crypto_lib.EVP_DigestInit_ex(context, digest, NULL) != 1)
    return crypto_failed(L);
  return 1;
}

/* copy() → another that goes on from here */
static int l_copy(lua_State *L) {
  EVP_MD_CTX *from = digest_at(L, &kind);
  libcrypto_clear();
  EVP_MD_CTX *context = push_new(L);
  if (context == NULL || crypto_lib.EVP_MD_CTX_copy_ex(context, from) != 1) return crypto_failed(L);
  return 1;
}

/* digest(length): of one whose length is free; → bytes. Once. */
static int l_digest(lua_State *L) {
  EVP_MD_CTX *context = digest_at(L, &kind);
  if (lua_isnoneornil(L, 2)) return digest_finish(L, &kind);
  libcrypto_clear();
  size_t wanted = (size_t)luaL_checknumber(L, 2);
  unsigned char *room = lua_newuserdata(L, wanted + 1);
  if (crypto_lib.EVP_DigestFinalXOF(context, room, wanted) != 1) return crypto_failed(L);
  lua_pushlstring(L, (const char *)room, wanted);
  digest_drop(L, &kind);
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
  static const luaL_Reg methods[] = {{"digest", l_digest}, {"copy", l_copy}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"hash", l_hash}, {"digest", l_at_once}, {NULL, NULL}};
  digest_class(L, &kind, methods);
  luaL_register(L, NULL, functions);
}
