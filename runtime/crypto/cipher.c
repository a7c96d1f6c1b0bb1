/* crypto/cipher.c: symmetric ciphers. A userdata owns one direction with its key; the order in which its methods may be
 * called is Lua's business. */
#include "crypto/crypto.h"

#include "host/errors.h"
#include "host/userdata.h"
#include <limits.h>

static const char *const class_name = "lrun.crypto.cipher";

typedef struct {
  EVP_CIPHER_CTX *context;
} cipher_t;

static EVP_CIPHER_CTX *context_at(lua_State *L) {
  return ((cipher_t *)luaL_checkudata(L, 1, class_name))->context;
}

static int done(lua_State *L, bool good) {
  if (!good) return crypto_failed(L);
  lua_pushboolean(L, 1);
  return 1;
}

typedef struct {
  const EVP_CIPHER *cipher;
  const char *key, *iv; /* iv: NULL for none */
  size_t key_len, iv_len;
  bool encrypts, aead, fixes_tag;
  int tag_len;
} plan_t;

static bool begin(EVP_CIPHER_CTX *context, const plan_t *plan) {
  int mode = crypto_lib.EVP_CIPHER_get_mode(plan->cipher);
  if (mode == EVP_CIPH_WRAP_MODE)
    crypto_lib.EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  if (crypto_lib.EVP_CipherInit_ex(context, plan->cipher, NULL, NULL, NULL, plan->encrypts) != 1)
    return false;
  if (plan->aead && plan->iv != NULL &&
      crypto_lib.EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_IVLEN, (int)plan->iv_len, NULL) != 1)
    return false;
  /* CCM and OCB compute with the length of the tag; a decipher is given the tag itself. */
  if (plan->fixes_tag &&
      crypto_lib.EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, plan->tag_len, NULL) != 1)
    return false;
  if (crypto_lib.EVP_CIPHER_CTX_set_key_length(context, (int)plan->key_len) != 1) return false;
  return crypto_lib.EVP_CipherInit_ex(context, NULL, NULL, (const unsigned char *)plan->key,
                                      (const unsigned char *)plan->iv, plan->encrypts) == 1;
}

/* cipher(name, key, iv or nil, encrypts, tag length or nil) → cipher */
static int l_cipher(lua_State *L) {
  plan_t plan = {.cipher = crypto_cipher(luaL_checkstring(L, 1)), .encrypts = lua_toboolean(L, 4)};
  plan.key = luaL_checklstring(L, 2, &plan.key_len);
  plan.iv = lua_tolstring(L, 3, &plan.iv_len);
  plan.fixes_tag = lua_isnumber(L, 5);
  plan.tag_len = (int)lua_tointeger(L, 5);
  libcrypto_clear();
  cipher_t *cipher = lua_newuserdata(L, sizeof *cipher);
  cipher->context = crypto_lib.EVP_CIPHER_CTX_new();
  luaL_getmetatable(L, class_name);
  lua_setmetatable(L, -2);
  if (cipher->context == NULL || plan.cipher == NULL) return crypto_failed(L);
  plan.aead = (crypto_lib.EVP_CIPHER_get_flags(plan.cipher) & EVP_CIPH_FLAG_AEAD_CIPHER) != 0;
  return begin(cipher->context, &plan) ? 1 : crypto_failed(L);
}

enum { LONGEST_DATA = INT_MAX - 512 /* what comes out, and room for a block or two, must fit a userdata */ };

static const unsigned char *check_data(lua_State *L, int *len) {
  size_t size;
  const char *data = luaL_checklstring(L, 2, &size);
  if (size > LONGEST_DATA)
    errors_throw(L, "ERR_OUT_OF_RANGE", "The data is longer than a cipher takes at once: give it in pieces");
  *len = (int)size;
  return (const unsigned char *)data;
}

/* update(data) → what comes out */
static int l_update(lua_State *L) {
  EVP_CIPHER_CTX *context = context_at(L);
  int len, out_len = 0;
  const unsigned char *data = check_data(L, &len);
  unsigned char *out = lua_newuserdata(L, (size_t)len + 2 * EVP_MAX_BLOCK_LENGTH);
  libcrypto_clear();
  if (crypto_lib.EVP_CipherUpdate(context, out, &out_len, data, len) != 1) return crypto_failed(L);
  lua_pushlstring(L, (const char *)out, (size_t)out_len);
  return 1;
}

/* final() → the rest */
static int l_final(lua_State *L) {
  EVP_CIPHER_CTX *context = context_at(L);
  unsigned char out[2 * EVP_MAX_BLOCK_LENGTH];
  int out_len = 0;
  libcrypto_clear();
  if (crypto_lib.EVP_CipherFinal_ex(context, out, &out_len) != 1) return crypto_failed(L);
  lua_pushlstring(L, (const char *)out, (size_t)out_len);
  return 1;
}

/* extra(data, length of the text or nil): data that is vouched for without being encrypted; CCM must know before how
 * long the text will be */
static int l_extra(lua_State *L) {
  EVP_CIPHER_CTX *context = context_at(L);
  int len, ignored = 0;
  const unsigned char *data = check_data(L, &len);
  libcrypto_clear();
  if (lua_isnumber(L, 3) &&
      crypto_lib.EVP_CipherUpdate(context, NULL, &ignored, NULL, (int)lua_tointeger(L, 3)) != 1)
    return crypto_failed(L);
  return done(L, crypto_lib.EVP_CipherUpdate(context, NULL, &ignored, data, len) == 1);
}

/* tag(length) → the tag of what was encrypted */
static int l_tag(lua_State *L) {
  EVP_CIPHER_CTX *context = context_at(L);
  int len = (int)luaL_checkinteger(L, 2);
  unsigned char *out = lua_newuserdata(L, (size_t)len + 1);
  libcrypto_clear();
  if (crypto_lib.EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, len, out) != 1) return crypto_failed(L);
  lua_pushlstring(L, (const char *)out, (size_t)len);
  return 1;
}

/* setTag(tag) → true */
static int l_set_tag(lua_State *L) {
  EVP_CIPHER_CTX *context = context_at(L);
  int len;
  const unsigned char *tag = check_data(L, &len);
  libcrypto_clear();
  return done(L, crypto_lib.EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, len, (void *)tag) == 1);
}

/* padding(whether) → true */
static int l_padding(lua_State *L) {
  EVP_CIPHER_CTX *context = context_at(L);
  libcrypto_clear();
  return done(L, crypto_lib.EVP_CIPHER_CTX_set_padding(context, lua_toboolean(L, 2)) == 1);
}

static int l_gc(lua_State *L) {
  cipher_t *cipher = luaL_checkudata(L, 1, class_name);
  crypto_lib.EVP_CIPHER_CTX_free(cipher->context);
  cipher->context = NULL;
  return 0;
}

void crypto_cipher_open(lua_State *L) {
  static const luaL_Reg methods[] = {{"update", l_update}, {"final", l_final},    {"extra", l_extra},
                                     {"tag", l_tag},       {"setTag", l_set_tag}, {"padding", l_padding},
                                     {"__gc", l_gc},       {NULL, NULL}};
  userdata_class(L, class_name, methods);
  lua_pushcfunction(L, l_cipher);
  lua_setfield(L, -2, "cipher");
}
