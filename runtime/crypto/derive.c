/* crypto/derive.c: keys from passwords and other keys: PBKDF2, scrypt, HKDF. Each is a job: at once, or on a thread when
 * a function comes last. */
#include "crypto/crypto.h"
#include "crypto/job.h"

#include <lauxlib.h>

typedef struct {
  job_t job;
  bytes_t secret, salt, info, key;
  const EVP_MD *digest;
  int iterations;                   /* PBKDF2 */
  uint64_t cost, block, lanes, max; /* scrypt */
} derivation_t;

static int push_key(lua_State *L, job_t *job) {
  const derivation_t *d = (derivation_t *)job;
  lua_pushlstring(L, (const char *)d->key.data, d->key.len);
  return 1;
}

static void release(job_t *job) {
  derivation_t *d = (derivation_t *)job;
  bytes_free(&d->secret);
  bytes_free(&d->salt);
  bytes_free(&d->info);
  bytes_free(&d->key);
}

static bool run_pbkdf2(job_t *job) {
  const derivation_t *d = (derivation_t *)job;
  return crypto_lib.PKCS5_PBKDF2_HMAC((const char *)d->secret.data, (int)d->secret.len, d->salt.data,
                                      (int)d->salt.len, d->iterations, d->digest, (int)d->key.len,
                                      d->key.data) == 1;
}

static bool run_scrypt(job_t *job) {
  const derivation_t *d = (derivation_t *)job;
  return crypto_lib.EVP_PBE_scrypt((const char *)d->secret.data, d->secret.len, d->salt.data, d->salt.len,
                                   d->cost, d->block, d->lanes, d->max, d->key.data, d->key.len) == 1;
}

static bool run_hkdf(job_t *job) {
  derivation_t *d = (derivation_t *)job;
  EVP_KDF *kdf = crypto_lib.EVP_KDF_fetch(NULL, "HKDF", NULL);
  EVP_KDF_CTX *context = kdf != NULL ? crypto_lib.EVP_KDF_CTX_new(kdf) : NULL;
  OSSL_PARAM params[] = {
      crypto_lib.OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST,
                                                  (char *)crypto_lib.EVP_MD_get0_name(d->digest), 0),
      crypto_lib.OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, d->secret.data, d->secret.len),
      crypto_lib.OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, d->salt.data, d->salt.len),
      crypto_lib.OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, d->info.data, d->info.len),
      crypto_lib.OSSL_PARAM_construct_end()};
  bool good = context != NULL && crypto_lib.EVP_KDF_derive(context, d->key.data, d->key.len, params) == 1;
  crypto_lib.EVP_KDF_CTX_free(context);
  crypto_lib.EVP_KDF_free(kdf);
  return good;
}

/* pbkdf2(password, salt, iterations, length, digest, callback or nil) → key */
static int l_pbkdf2(lua_State *L) {
  static const job_kind_t kind = {sizeof(derivation_t), run_pbkdf2, push_key, release};
  int iterations = (int)luaL_checkinteger(L, 3), length = (int)luaL_checkinteger(L, 4);
  const EVP_MD *digest = crypto_digest(luaL_checkstring(L, 5));
  derivation_t *d = job_new(L, &kind);
  job_bytes(L, &d->job, &d->secret, 1);
  job_bytes(L, &d->job, &d->salt, 2);
  job_room(L, &d->job, &d->key, (size_t)length);
  d->iterations = iterations;
  d->digest = digest;
  return job_do(L, &d->job, 6);
}

/* scrypt(password, salt, length, cost, block size, parallelization, most memory, callback or nil) → key */
static int l_scrypt(lua_State *L) {
  static const job_kind_t kind = {sizeof(derivation_t), run_scrypt, push_key, release};
  lua_Number numbers[5];
  for (int i = 0; i < 5; i++) numbers[i] = luaL_checknumber(L, 3 + i);
  derivation_t *d = job_new(L, &kind);
  job_bytes(L, &d->job, &d->secret, 1);
  job_bytes(L, &d->job, &d->salt, 2);
  job_room(L, &d->job, &d->key, (size_t)numbers[0]);
  d->cost = (uint64_t)numbers[1];
  d->block = (uint64_t)numbers[2];
  d->lanes = (uint64_t)numbers[3];
  d->max = (uint64_t)numbers[4];
  return job_do(L, &d->job, 8);
}

/* scryptFits(cost, block size, parallelization, most memory): whether scrypt will do with these */
static int l_scrypt_fits(lua_State *L) {
  uint64_t numbers[4];
  for (int i = 0; i < 4; i++) numbers[i] = (uint64_t)luaL_checknumber(L, 1 + i);
  libcrypto_clear();
  if (crypto_lib.EVP_PBE_scrypt(NULL, 0, NULL, 0, numbers[0], numbers[1], numbers[2], numbers[3], NULL, 0) !=
      1)
    return crypto_failed(L);
  lua_pushboolean(L, 1);
  return 1;
}

/* hkdf(digest, key, salt, info, length, callback or nil) → key */
static int l_hkdf(lua_State *L) {
  static const job_kind_t kind = {sizeof(derivation_t), run_hkdf, push_key, release};
  const EVP_MD *digest = crypto_digest(luaL_checkstring(L, 1));
  int length = (int)luaL_checkinteger(L, 5);
  derivation_t *d = job_new(L, &kind);
  job_bytes(L, &d->job, &d->secret, 2);
  job_bytes(L, &d->job, &d->salt, 3);
  job_bytes(L, &d->job, &d->info, 4);
  job_room(L, &d->job, &d->key, (size_t)length);
  d->digest = digest;
  return job_do(L, &d->job, 6);
}

void crypto_derive_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"pbkdf2", l_pbkdf2},
                                       {"scrypt", l_scrypt},
                                       {"scryptFits", l_scrypt_fits},
                                       {"hkdf", l_hkdf},
                                       {NULL, NULL}};
  luaL_register(L, NULL, functions);
}
