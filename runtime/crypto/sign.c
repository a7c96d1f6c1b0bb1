/* crypto/sign.c: signatures, of data or of its digest, and whether they are good. Signing data is a job, and so is
 * verifying it. ECDSA's come as DER, or as the two numbers one behind the other (IEEE P1363), as JWT has them. */
#include "crypto/crypto.h"
#include "crypto/job.h"

#include <lauxlib.h>
#include <limits.h>

/* How RSA pads; PADDING_DEFAULT and SALT_DEFAULT: as the key has it. */
enum { PADDING_DEFAULT = 0, SALT_DEFAULT = -100 };

typedef struct {
  int padding, salt_len;
  bool plain; /* two numbers, without DER */
} form_t;

typedef struct {
  job_t job;
  EVP_PKEY *key;
  const EVP_MD *digest; /* NULL: the key's own way */
  bytes_t data, signature;
  form_t form;
  bool verified;
} signing_t;

static bool apply(EVP_PKEY_CTX *context, const form_t *form) {
  if (form->padding != PADDING_DEFAULT &&
      crypto_lib.EVP_PKEY_CTX_set_rsa_padding(context, form->padding) != 1)
    return false;
  return form->salt_len == SALT_DEFAULT ||
         crypto_lib.EVP_PKEY_CTX_set_rsa_pss_saltlen(context, form->salt_len) == 1;
}

/* The two numbers of ECDSA, each as long as the curve's order; 0: these are none. */
static size_t number_len(EVP_PKEY *key) { return ((size_t)crypto_lib.EVP_PKEY_get_bits(key) + 7) / 8; }

static bool to_plain(EVP_PKEY *key, bytes_t *signature) {
  const unsigned char *at = signature->data;
  ECDSA_SIG *pair = crypto_lib.d2i_ECDSA_SIG(NULL, &at, (long)signature->len);
  if (pair == NULL) return false;
  const BIGNUM *r, *s;
  int len = (int)number_len(key);
  unsigned char numbers[2 * 256];
  crypto_lib.ECDSA_SIG_get0(pair, &r, &s);
  bool good = len <= 256 && crypto_lib.BN_bn2binpad(r, numbers, len) == len &&
              crypto_lib.BN_bn2binpad(s, numbers + len, len) == len; /* room_for has room for more */
  crypto_lib.ECDSA_SIG_free(pair);
  if (!good) return false;
  signature->len = 2 * (size_t)len;
  for (size_t i = 0; i < signature->len; i++) signature->data[i] = numbers[i];
  return true;
}

/* The DER of the two numbers, to be freed by libcrypto_free; NULL: they are no signature. */
static unsigned char *from_plain(EVP_PKEY *key, const bytes_t *signature, size_t *len) {
  size_t half = number_len(key);
  if (signature->len != 2 * half) return NULL;
  ECDSA_SIG *pair = crypto_lib.ECDSA_SIG_new();
  BIGNUM *r = crypto_lib.BN_bin2bn(signature->data, (int)half, NULL);
  BIGNUM *s = crypto_lib.BN_bin2bn(signature->data + half, (int)half, NULL);
  unsigned char *der = NULL;
  if (pair != NULL && r != NULL && s != NULL && crypto_lib.ECDSA_SIG_set0(pair, r, s) == 1) {
    int n = crypto_lib.i2d_ECDSA_SIG(pair, &der);
    *len = n > 0 ? (size_t)n : 0;
  } else {
    crypto_lib.BN_free(r);
    crypto_lib.BN_free(s);
  }
  crypto_lib.ECDSA_SIG_free(pair);
  return der;
}

static bool run_sign(job_t *job) {
  signing_t *s = (signing_t *)job;
  EVP_MD_CTX *context = crypto_lib.EVP_MD_CTX_new();
  EVP_PKEY_CTX *options = NULL;
  bool good =
      context != NULL && crypto_lib.EVP_DigestSignInit(context, &options, s->digest, NULL, s->key) == 1 &&
      apply(options, &s->form) &&
      crypto_lib.EVP_DigestSign(context, s->signature.data, &s->signature.len, s->data.data, s->data.len) ==
          1;
  crypto_lib.EVP_MD_CTX_free(context);
  return good && (!s->form.plain || to_plain(s->key, &s->signature));
}

/* With a signature that is none at all OpenSSL has an error; it is not good, and that is all. */
static bool run_verify(job_t *job) {
  signing_t *s = (signing_t *)job;
  EVP_MD_CTX *context = crypto_lib.EVP_MD_CTX_new();
  EVP_PKEY_CTX *options = NULL;
  bool good = context != NULL &&
              crypto_lib.EVP_DigestVerifyInit(context, &options, s->digest, NULL, s->key) == 1 &&
              apply(options, &s->form);
  if (good) {
    size_t len = s->signature.len;
    unsigned char *der = s->form.plain ? from_plain(s->key, &s->signature, &len) : NULL;
    const unsigned char *signature = s->form.plain ? der : s->signature.data;
    s->verified = signature != NULL &&
                  crypto_lib.EVP_DigestVerify(context, signature, len, s->data.data, s->data.len) == 1;
    libcrypto_free(der);
  }
  crypto_lib.EVP_MD_CTX_free(context);
  return good;
}

static int push_signature(lua_State *L, job_t *job) {
  const signing_t *s = (signing_t *)job;
  lua_pushlstring(L, (const char *)s->signature.data, s->signature.len);
  return 1;
}

static int push_verdict(lua_State *L, job_t *job) {
  lua_pushboolean(L, ((signing_t *)job)->verified);
  return 1;
}

static void release(job_t *job) {
  signing_t *s = (signing_t *)job;
  crypto_lib.EVP_PKEY_free(s->key);
  bytes_free(&s->data);
  bytes_free(&s->signature);
}

/* padding, salt length, plain: three arguments from `index` on. */
static form_t read_form(lua_State *L, int index) {
  return (form_t){.padding = (int)luaL_optinteger(L, index, PADDING_DEFAULT),
                  .salt_len = (int)luaL_optinteger(L, index + 1, SALT_DEFAULT),
                  .plain = lua_toboolean(L, index + 2)};
}

static signing_t *new_signing(lua_State *L, const job_kind_t *kind, int form) {
  EVP_PKEY *key = crypto_key_at(L, 1);
  const char *name = lua_tostring(L, 2);
  luaL_checkstring(L, 3);
  form_t read = read_form(L, form);
  const EVP_MD *digest = name != NULL ? crypto_digest(name) : NULL;
  signing_t *s = job_new(L, kind);
  crypto_lib.EVP_PKEY_up_ref(key);
  s->key = key;
  s->digest = digest;
  s->form = read;
  job_bytes(L, &s->job, &s->data, 3);
  return s;
}

static size_t room_for(EVP_PKEY *key) {
  int size = crypto_lib.EVP_PKEY_get_size(key);
  return size > 0 ? (size_t)size : 0;
}

/* sign(key, digest or nil, data, padding, salt length, plain, callback or nil) → signature */
static int l_sign(lua_State *L) {
  static const job_kind_t kind = {sizeof(signing_t), run_sign, push_signature, release};
  signing_t *s = new_signing(L, &kind, 4);
  job_room(L, &s->job, &s->signature, room_for(s->key));
  return job_do(L, &s->job, 7);
}

/* verify(key, digest or nil, data, signature, padding, salt length, plain, callback or nil) → whether it is good */
static int l_verify(lua_State *L) {
  static const job_kind_t kind = {sizeof(signing_t), run_verify, push_verdict, release};
  luaL_checkstring(L, 4);
  signing_t *s = new_signing(L, &kind, 5);
  job_bytes(L, &s->job, &s->signature, 4);
  return job_do(L, &s->job, 8);
}

/* Of data whose digest was made already (createSign, createVerify) ----------------------------------------- */

static bool run_sign_digest(job_t *job) {
  signing_t *s = (signing_t *)job;
  EVP_PKEY_CTX *context = crypto_lib.EVP_PKEY_CTX_new_from_pkey(NULL, s->key, NULL);
  bool good =
      context != NULL && crypto_lib.EVP_PKEY_sign_init(context) == 1 && apply(context, &s->form) &&
      crypto_lib.EVP_PKEY_CTX_set_signature_md(context, s->digest) == 1 &&
      crypto_lib.EVP_PKEY_sign(context, s->signature.data, &s->signature.len, s->data.data, s->data.len) == 1;
  crypto_lib.EVP_PKEY_CTX_free(context);
  return good && (!s->form.plain || to_plain(s->key, &s->signature));
}

static bool run_verify_digest(job_t *job) {
  signing_t *s = (signing_t *)job;
  EVP_PKEY_CTX *context = crypto_lib.EVP_PKEY_CTX_new_from_pkey(NULL, s->key, NULL);
  bool good = context != NULL && crypto_lib.EVP_PKEY_verify_init(context) == 1 && apply(context, &s->form) &&
              crypto_lib.EVP_PKEY_CTX_set_signature_md(context, s->digest) == 1;
  if (good) {
    size_t len = s->signature.len;
    unsigned char *der = s->form.plain ? from_plain(s->key, &s->signature, &len) : NULL;
    const unsigned char *signature = s->form.plain ? der : s->signature.data;
    s->verified = signature != NULL &&
                  crypto_lib.EVP_PKEY_verify(context, signature, len, s->data.data, s->data.len) == 1;
    libcrypto_free(der);
  }
  crypto_lib.EVP_PKEY_CTX_free(context);
  return good;
}

/* signDigest(key, digest's name, digest, padding, salt length, plain) → signature */
static int l_sign_digest(lua_State *L) {
  static const job_kind_t kind = {sizeof(signing_t), run_sign_digest, push_signature, release};
  signing_t *s = new_signing(L, &kind, 4);
  job_room(L, &s->job, &s->signature, room_for(s->key));
  return job_do(L, &s->job, 7);
}

/* verifyDigest(key, digest's name, digest, signature, padding, salt length, plain) → whether it is good */
static int l_verify_digest(lua_State *L) {
  static const job_kind_t kind = {sizeof(signing_t), run_verify_digest, push_verdict, release};
  luaL_checkstring(L, 4);
  signing_t *s = new_signing(L, &kind, 5);
  job_bytes(L, &s->job, &s->signature, 4);
  return job_do(L, &s->job, 8);
}

void crypto_sign_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"sign", l_sign},
                                       {"verify", l_verify},
                                       {"signDigest", l_sign_digest},
                                       {"verifyDigest", l_verify_digest},
                                       {NULL, NULL}};
  luaL_register(L, NULL, functions);
}
