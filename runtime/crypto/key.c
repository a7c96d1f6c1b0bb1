/* crypto/key.c: asymmetric keys: read from PEM and DER, told about, written. A userdata holds one, or a pair. */
#include "crypto/crypto.h"

#include "host/userdata.h"
#include "libcrypto/fault.h"
#include <limits.h>
#include <string.h>

static const char *const class_name = "lrun.crypto.key";

typedef struct {
  EVP_PKEY *key;
} holder_t;

EVP_PKEY *crypto_key_at(lua_State *L, int index) {
  return ((holder_t *)luaL_checkudata(L, index, class_name))->key;
}

void crypto_key_push(lua_State *L, EVP_PKEY *key) {
  holder_t *holder = lua_newuserdata(L, sizeof *holder);
  holder->key = key;
  luaL_getmetatable(L, class_name);
  lua_setmetatable(L, -2);
}

static int l_gc(lua_State *L) {
  holder_t *holder = luaL_checkudata(L, 1, class_name);
  crypto_lib.EVP_PKEY_free(holder->key);
  holder->key = NULL;
  return 0;
}

/* Reading ------------------------------------------------------------------------------------------------ */

typedef struct {
  const char *data;
  size_t len;
  const char *format, *structure; /* NULL: any */
  const char *passphrase;         /* NULL: none was given */
  size_t passphrase_len;
  bool asked; /* it is encrypted */
} source_t;

/* Without one of its own OpenSSL would ask the terminal. */
static int give_passphrase(char *to, int size, int writing, void *arg) {
  source_t *source = arg;
  (void)writing;
  source->asked = true;
  if (source->passphrase == NULL || source->passphrase_len > (size_t)size) return -1;
  memcpy(to, source->passphrase, source->passphrase_len);
  return (int)source->passphrase_len;
}

static EVP_PKEY *decode(source_t *source, int selection) {
  EVP_PKEY *key = NULL;
  OSSL_DECODER_CTX *context = crypto_lib.OSSL_DECODER_CTX_new_for_pkey(
      &key, source->format, source->structure, NULL, selection, NULL, NULL);
  if (context == NULL) return NULL;
  const unsigned char *data = (const unsigned char *)source->data;
  size_t len = source->len;
  crypto_lib.OSSL_DECODER_CTX_set_pem_password_cb(context, give_passphrase, source);
  if (crypto_lib.OSSL_DECODER_from_data(context, &data, &len) != 1) {
    crypto_lib.EVP_PKEY_free(key);
    key = NULL;
  }
  crypto_lib.OSSL_DECODER_CTX_free(context);
  return key;
}

/* The key that a certificate is about. */
static EVP_PKEY *of_certificate(const source_t *source) {
  BIO *bio = source->len <= INT_MAX ? crypto_lib.BIO_new_mem_buf(source->data, (int)source->len) : NULL;
  source_t none = {0};
  X509 *certificate = bio != NULL ? crypto_lib.PEM_read_bio_X509(bio, NULL, give_passphrase, &none) : NULL;
  EVP_PKEY *key = certificate != NULL ? crypto_lib.X509_get0_pubkey(certificate) : NULL;
  if (key != NULL) crypto_lib.EVP_PKEY_up_ref(key);
  crypto_lib.X509_free(certificate);
  crypto_lib.BIO_free(bio);
  return key;
}

static EVP_PKEY *read_public(source_t *source) {
  static const char mark[] = "-----BEGIN CERTIFICATE-----";
  if (memmem(source->data, source->len, mark, sizeof mark - 1) != NULL) return of_certificate(source);
  EVP_PKEY *key = decode(source, EVP_PKEY_PUBLIC_KEY);
  if (key != NULL) return key;
  libcrypto_clear();
  source->structure = NULL;
  return decode(source, EVP_PKEY_KEYPAIR); /* a private key has the other */
}

/* read(data, private, format or nil, structure or nil, passphrase or nil) → key; or nil, the fault, whether it is
 * encrypted */
static int l_read(lua_State *L) {
  source_t source = {0};
  source.data = luaL_checklstring(L, 1, &source.len);
  source.format = lua_tostring(L, 3);
  source.structure = lua_tostring(L, 4);
  source.passphrase = lua_tolstring(L, 5, &source.passphrase_len);
  libcrypto_clear();
  EVP_PKEY *key = lua_toboolean(L, 2) ? decode(&source, EVP_PKEY_KEYPAIR) : read_public(&source);
  if (key == NULL) {
    crypto_failed(L);
    lua_pushboolean(L, source.asked);
    return 3;
  }
  libcrypto_clear(); /* formats that were tried in vain */
  crypto_key_push(L, key);
  return 1;
}

/* Telling ------------------------------------------------------------------------------------------------- */

static void set_number(lua_State *L, EVP_PKEY *key, const char *param, const char *name) {
  BIGNUM *number = NULL;
  if (crypto_lib.EVP_PKEY_get_bn_param(key, param, &number) != 1) return;
  char *hex = crypto_lib.BN_bn2hex(number);
  crypto_lib.BN_free(number);
  if (hex == NULL) return;
  lua_pushstring(L, hex);
  lua_setfield(L, -2, name);
  libcrypto_free(hex);
}

/* details() → { type = "RSA", bits, group, exponent (hexadecimal digits) }, each but the first where the type has it */
static int l_details(lua_State *L) {
  EVP_PKEY *key = crypto_key_at(L, 1);
  char group[80];
  size_t len = 0;
  lua_createtable(L, 0, 4);
  lua_pushstring(L, crypto_lib.EVP_PKEY_get0_type_name(key));
  lua_setfield(L, -2, "type");
  lua_pushinteger(L, crypto_lib.EVP_PKEY_get_bits(key));
  lua_setfield(L, -2, "bits");
  if (crypto_lib.EVP_PKEY_get_group_name(key, group, sizeof group, &len) == 1) {
    lua_pushlstring(L, group, len);
    lua_setfield(L, -2, "group");
  }
  set_number(L, key, OSSL_PKEY_PARAM_RSA_E, "exponent");
  libcrypto_clear(); /* not every type has all of it */
  return 1;
}

/* equal(other): whether the public parts are the same */
static int l_equal(lua_State *L) {
  lua_pushboolean(L, crypto_lib.EVP_PKEY_eq(crypto_key_at(L, 1), crypto_key_at(L, 2)) == 1);
  libcrypto_clear();
  return 1;
}

/* write(private, format, structure, cipher or nil, passphrase or nil) → text or bytes */
static int l_write(lua_State *L) {
  EVP_PKEY *key = crypto_key_at(L, 1);
  int selection = lua_toboolean(L, 2) ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY;
  size_t passphrase_len = 0, len = 0;
  const char *cipher = lua_tostring(L, 5), *passphrase = lua_tolstring(L, 6, &passphrase_len);
  unsigned char *data = NULL;
  libcrypto_clear();
  OSSL_ENCODER_CTX *context = crypto_lib.OSSL_ENCODER_CTX_new_for_pkey(key, selection, luaL_checkstring(L, 3),
                                                                       luaL_checkstring(L, 4), NULL);
  bool good = context != NULL;
  if (good && cipher != NULL)
    good = crypto_lib.OSSL_ENCODER_CTX_set_cipher(context, cipher, NULL) == 1 &&
           crypto_lib.OSSL_ENCODER_CTX_set_passphrase(context, (const unsigned char *)passphrase,
                                                      passphrase_len) == 1;
  good = good && crypto_lib.OSSL_ENCODER_to_data(context, &data, &len) == 1;
  crypto_lib.OSSL_ENCODER_CTX_free(context);
  if (!good) return crypto_failed(L);
  lua_pushlstring(L, (const char *)data, len);
  crypto_lib.OPENSSL_cleanse(data, len);
  libcrypto_free(data);
  return 1;
}

void crypto_key_open(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"details", l_details}, {"equal", l_equal}, {"write", l_write}, {"__gc", l_gc}, {NULL, NULL}};
  userdata_class(L, class_name, methods);
  lua_pushcfunction(L, l_read);
  lua_setfield(L, -2, "readKey");
}
