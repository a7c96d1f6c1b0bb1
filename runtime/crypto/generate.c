/* crypto/generate.c: new pairs of keys. A job: primes take their time. */
#include "crypto/crypto.h"
#include "crypto/job.h"

#include <lauxlib.h>
#include <stdio.h>

typedef struct {
  job_t job;
  EVP_PKEY *key;
  char type[16], curve[64], digest[64], mask_digest[64];
  int bits, salt_len; /* 0 and -1: not given */
  unsigned long exponent;
} generation_t;

static bool set_exponent(EVP_PKEY_CTX *context, unsigned long value) {
  BIGNUM *number = crypto_lib.BN_new();
  bool good = number != NULL && crypto_lib.BN_set_word(number, value) == 1 &&
              crypto_lib.EVP_PKEY_CTX_set1_rsa_keygen_pubexp(context, number) == 1;
  crypto_lib.BN_free(number);
  return good;
}

/* What signatures with the key will be restricted to (RSA-PSS). */
static bool set_restrictions(EVP_PKEY_CTX *context, generation_t *g) {
  OSSL_PARAM params[4];
  int count = 0;
  if (g->digest[0] != '\0')
    params[count++] = crypto_lib.OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_RSA_DIGEST, g->digest, 0);
  if (g->mask_digest[0] != '\0')
    params[count++] =
        crypto_lib.OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_RSA_MGF1_DIGEST, g->mask_digest, 0);
  if (g->salt_len >= 0)
    params[count++] = crypto_lib.OSSL_PARAM_construct_int(OSSL_PKEY_PARAM_RSA_PSS_SALTLEN, &g->salt_len);
  params[count] = crypto_lib.OSSL_PARAM_construct_end();
  return count == 0 || crypto_lib.EVP_PKEY_CTX_set_params(context, params) == 1;
}

static bool run(job_t *job) {
  generation_t *g = (generation_t *)job;
  EVP_PKEY_CTX *context = crypto_lib.EVP_PKEY_CTX_new_from_name(NULL, g->type, NULL);
  bool good = context != NULL && crypto_lib.EVP_PKEY_keygen_init(context) == 1;
  if (good && g->bits > 0) good = crypto_lib.EVP_PKEY_CTX_set_rsa_keygen_bits(context, g->bits) == 1;
  if (good && g->exponent > 0) good = set_exponent(context, g->exponent);
  if (good && g->curve[0] != '\0') good = crypto_lib.EVP_PKEY_CTX_set_group_name(context, g->curve) == 1;
  good = good && set_restrictions(context, g) && crypto_lib.EVP_PKEY_generate(context, &g->key) == 1;
  crypto_lib.EVP_PKEY_CTX_free(context);
  return good;
}

static int push(lua_State *L, job_t *job) {
  generation_t *g = (generation_t *)job;
  crypto_key_push(L, g->key);
  g->key = NULL;
  return 1;
}

static void release(job_t *job) { crypto_lib.EVP_PKEY_free(((generation_t *)job)->key); }

static void read_name(lua_State *L, const char *field, char *to, size_t size) {
  lua_getfield(L, 2, field);
  const char *text = lua_tostring(L, -1);
  snprintf(to, size, "%s", text != NULL ? text : "");
  lua_pop(L, 1);
}

static lua_Number read_number(lua_State *L, const char *field, lua_Number absent) {
  lua_getfield(L, 2, field);
  lua_Number number = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : absent;
  lua_pop(L, 1);
  return number;
}

/* generate(type as OpenSSL calls it, { bits, exponent, curve, digest, maskDigest, saltLength }, callback or nil) → key */
static int l_generate(lua_State *L) {
  static const job_kind_t kind = {sizeof(generation_t), run, push, release};
  const char *type = luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  generation_t *g = job_new(L, &kind);
  snprintf(g->type, sizeof g->type, "%s", type);
  read_name(L, "curve", g->curve, sizeof g->curve);
  read_name(L, "digest", g->digest, sizeof g->digest);
  read_name(L, "maskDigest", g->mask_digest, sizeof g->mask_digest);
  g->bits = (int)read_number(L, "bits", 0);
  g->exponent = (unsigned long)read_number(L, "exponent", 0);
  g->salt_len = (int)read_number(L, "saltLength", -1);
  return job_do(L, &g->job, 3);
}

void crypto_generate_open(lua_State *L) {
  lua_pushcfunction(L, l_generate);
  lua_setfield(L, -2, "generate");
}
