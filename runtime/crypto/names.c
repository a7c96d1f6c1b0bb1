/* crypto/names.c: digests and ciphers by their names. What was found once is kept by its name in lower case, because to
 * ask OpenSSL costs more than to hash a line; the names that it knows are some hundreds. Main thread only. */
#include "crypto/crypto.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum { NAME_SIZE = 64 };

typedef struct entry {
  SLIST_ENTRY(entry) link;
  const void *found;
  char name[NAME_SIZE];
} entry_t;
typedef SLIST_HEAD(, entry) entries_t;

/* What a name stands for, fetched; NULL for nothing. */
typedef void *(*fetch_t)(const char *name);

static const void *look_up(entries_t *list, const char *name, fetch_t fetch) {
  char folded[NAME_SIZE];
  size_t len = strlen(name);
  if (len >= NAME_SIZE) return NULL;
  for (size_t i = 0; i <= len; i++) folded[i] = (char)tolower((unsigned char)name[i]);
  entry_t *entry;
  SLIST_FOREACH(entry, list, link) if (strcmp(entry->name, folded) == 0) return entry->found;
  void *found = fetch(folded);
  libcrypto_clear(); /* that there is none is no error yet */
  entry = found != NULL ? malloc(sizeof *entry) : NULL;
  if (entry == NULL) return found;
  *entry = (entry_t){.found = found};
  memcpy(entry->name, folded, len + 1);
  SLIST_INSERT_HEAD(list, entry, link);
  return found;
}

/* The older names ("RSA-SHA256") are known to the lists of OpenSSL's alone, the newer ones ("SHA2-256") to providers. */
static void *fetch_digest(const char *name) {
  const EVP_MD *known = crypto_lib.EVP_get_digestbyname(name);
  return crypto_lib.EVP_MD_fetch(NULL, known != NULL ? crypto_lib.EVP_MD_get0_name(known) : name, NULL);
}

static void *fetch_cipher(const char *name) {
  const EVP_CIPHER *known = crypto_lib.EVP_get_cipherbyname(name);
  return crypto_lib.EVP_CIPHER_fetch(NULL, known != NULL ? crypto_lib.EVP_CIPHER_get0_name(known) : name,
                                     NULL);
}

const EVP_MD *crypto_digest(const char *name) {
  static entries_t digests;
  return look_up(&digests, name, fetch_digest);
}

const EVP_CIPHER *crypto_cipher(const char *name) {
  static entries_t ciphers;
  return look_up(&ciphers, name, fetch_cipher);
}

typedef struct {
  lua_State *L;
  int count;
} list_t;

static void add(list_t *list, const char *name) {
  lua_pushstring(list->L, name);
  lua_rawseti(list->L, -2, ++list->count);
}

/* With an alias `from` is its name and `to` what it stands for; else `from` is the name in OpenSSL's case. */
static void add_digest(const EVP_MD *digest, const char *from, const char *to, void *arg) {
  const char *name = from != NULL ? from : to;
  (void)digest;
  if (name != NULL && crypto_digest(name) != NULL) add(arg, name);
}

/* The modes that createCipheriv can do. */
static bool is_usable(const EVP_CIPHER *cipher) {
  switch (crypto_lib.EVP_CIPHER_get_mode(cipher)) {
  case EVP_CIPH_SIV_MODE: return false;
  default: return crypto_lib.EVP_CIPHER_get_block_size(cipher) > 0;
  }
}

static void add_cipher(const EVP_CIPHER *cipher, const char *from, const char *to, void *arg) {
  const char *name = from != NULL ? from : to;
  (void)cipher;
  const EVP_CIPHER *found = name != NULL ? crypto_cipher(name) : NULL;
  if (found != NULL && is_usable(found)) add(arg, name);
}

/* digests() → names, as OpenSSL sorts them */
static int l_digests(lua_State *L) {
  list_t list = {L, 0};
  lua_newtable(L);
  crypto_lib.EVP_MD_do_all_sorted(add_digest, &list);
  return 1;
}

/* ciphers() → names */
static int l_ciphers(lua_State *L) {
  list_t list = {L, 0};
  lua_newtable(L);
  crypto_lib.EVP_CIPHER_do_all_sorted(add_cipher, &list);
  return 1;
}

/* curves() → names of those for ec */
static int l_curves(lua_State *L) {
  list_t list = {L, 0};
  size_t count = crypto_lib.EC_get_builtin_curves(NULL, 0);
  EC_builtin_curve *curves = lua_newuserdata(L, (count + 1) * sizeof *curves);
  count = crypto_lib.EC_get_builtin_curves(curves, count);
  lua_newtable(L);
  for (size_t i = 0; i < count; i++) add(&list, crypto_lib.OBJ_nid2sn(curves[i].nid));
  return 1;
}

/* What a digest gives where nothing else is asked for. Of those whose length is free libcrypto has not said it since 3.4: it is
 * their strength, half of what a block leaves of Keccak's state. */
static int usual_size(const EVP_MD *digest) {
  enum { STATE = 200 };
  int size = crypto_lib.EVP_MD_get_size(digest);
  return size > 0 ? size : (STATE - crypto_lib.EVP_MD_get_block_size(digest)) / 2;
}

/* digestInfo(name) → bytes of a digest, whether its length is free; nil for no digest */
static int l_digest_info(lua_State *L) {
  const EVP_MD *digest = crypto_digest(luaL_checkstring(L, 1));
  if (digest == NULL) return 0;
  lua_pushinteger(L, usual_size(digest));
  lua_pushboolean(L, (crypto_lib.EVP_MD_get_flags(digest) & EVP_MD_FLAG_XOF) != 0);
  return 2;
}

static const char *mode_name(const EVP_CIPHER *cipher) {
  switch (crypto_lib.EVP_CIPHER_get_mode(cipher)) {
  case EVP_CIPH_ECB_MODE: return "ecb";
  case EVP_CIPH_CBC_MODE: return "cbc";
  case EVP_CIPH_CFB_MODE: return "cfb";
  case EVP_CIPH_OFB_MODE: return "ofb";
  case EVP_CIPH_CTR_MODE: return "ctr";
  case EVP_CIPH_GCM_MODE: return "gcm";
  case EVP_CIPH_CCM_MODE: return "ccm";
  case EVP_CIPH_XTS_MODE: return "xts";
  case EVP_CIPH_OCB_MODE: return "ocb";
  case EVP_CIPH_WRAP_MODE: return "wrap";
  default: return "stream";
  }
}

static void set_integer(lua_State *L, const char *name, int value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, name);
}

/* cipherInfo(name) → { mode, keyLength, ivLength, blockSize, nid, aead, freeKey }; nil for no cipher */
static int l_cipher_info(lua_State *L) {
  const EVP_CIPHER *cipher = crypto_cipher(luaL_checkstring(L, 1));
  if (cipher == NULL || !is_usable(cipher)) return 0;
  unsigned long flags = crypto_lib.EVP_CIPHER_get_flags(cipher);
  lua_createtable(L, 0, 8);
  lua_pushstring(L, mode_name(cipher));
  lua_setfield(L, -2, "mode");
  set_integer(L, "keyLength", crypto_lib.EVP_CIPHER_get_key_length(cipher));
  set_integer(L, "ivLength", crypto_lib.EVP_CIPHER_get_iv_length(cipher));
  set_integer(L, "blockSize", crypto_lib.EVP_CIPHER_get_block_size(cipher));
  set_integer(L, "nid", crypto_lib.EVP_CIPHER_get_nid(cipher));
  lua_pushboolean(L, (flags & EVP_CIPH_FLAG_AEAD_CIPHER) != 0);
  lua_setfield(L, -2, "aead");
  lua_pushboolean(L, (flags & EVP_CIPH_VARIABLE_LENGTH) != 0);
  lua_setfield(L, -2, "freeKey");
  return 1;
}

void crypto_names_open(lua_State *L) {
  static const luaL_Reg functions[] = {{"digests", l_digests},        {"ciphers", l_ciphers},
                                       {"curves", l_curves},          {"digestInfo", l_digest_info},
                                       {"cipherInfo", l_cipher_info}, {NULL, NULL}};
  luaL_register(L, NULL, functions);
}
