/* tls/identity.c: certificates with their keys, from PEM or PKCS#12, into a context. */
#include "tls/context.h"
#include "tls/fault.h"

#include <lauxlib.h>
#include <string.h>

typedef struct {
  const char *text; /* NULL: none was given */
  size_t len;
  bool asked;
} passphrase_t;

static int give_passphrase(char *to, int size, int writing, void *arg) {
  (void)writing;
  passphrase_t *passphrase = arg;
  passphrase->asked = true;
  if (passphrase->text == NULL || passphrase->len > (size_t)size) return -1;
  memcpy(to, passphrase->text, passphrase->len);
  return (int)passphrase->len;
}

static void free_certificate(void *certificate) { crypto_lib.X509_free(certificate); }
static void free_chain(OPENSSL_STACK *chain) { crypto_lib.OPENSSL_sk_pop_free(chain, free_certificate); }

/* Whether reading stopped because there is no further certificate, and not because one is broken. */
static bool at_end(void) {
  unsigned long error = crypto_lib.ERR_peek_last_error();
  bool end = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
  if (end) crypto_lib.ERR_clear_error();
  return end;
}

/* The certificate and those behind it, which are its chain; NULL with the error in the queue. */
static X509 *read_chain(const char *pem, size_t len, OPENSSL_STACK **chain) {
  *chain = NULL;
  BIO *bio = crypto_lib.BIO_new_mem_buf(pem, (int)len);
  OPENSSL_STACK *rest = crypto_lib.OPENSSL_sk_new_null();
  passphrase_t none = {0};
  X509 *leaf = bio != NULL && rest != NULL
                   ? crypto_lib.PEM_read_bio_X509_AUX(bio, NULL, give_passphrase, &none)
                   : NULL;
  bool good = leaf != NULL;
  X509 *next;
  while (good && (next = crypto_lib.PEM_read_bio_X509(bio, NULL, give_passphrase, &none)) != NULL)
    good = crypto_lib.OPENSSL_sk_push(rest, next) > 0;
  good = good && at_end();
  crypto_lib.BIO_free(bio);
  if (good) {
    *chain = rest;
    return leaf;
  }
  crypto_lib.X509_free(leaf);
  free_chain(rest);
  return NULL;
}

/* What failed, before the fault: "cert", "key", "passphrase" (it is wrong, or missing), "mismatch". */
static int failed(lua_State *L, const char *what) {
  tls_fault_t fault = {0};
  tls_fault_take(&fault);
  lua_pushnil(L);
  lua_pushstring(L, what);
  tls_fault_push(L, &fault);
  return 3;
}

/* Puts the pair into the context unless the one is not the other's. */
static const char *use(SSL_CTX *ssl, X509 *leaf, EVP_PKEY *key, OPENSSL_STACK *chain) {
  EVP_PKEY *public_key = crypto_lib.X509_get0_pubkey(leaf);
  if (public_key == NULL || crypto_lib.EVP_PKEY_eq(public_key, key) != 1) {
    libcrypto_clear();
    return "mismatch";
  }
  return tls_lib.SSL_CTX_use_cert_and_key(ssl, leaf, key, (STACK_OF(X509) *)chain, 1) == 1 ? NULL : "cert";
}

/* identity(cert, key, passphrase or nil): PEM texts → true; or nil, what failed, the fault. */
int tls_context_identity(lua_State *L) {
  SSL_CTX *ssl = tls_context_at(L, 1)->ssl;
  size_t cert_len, key_len;
  const char *cert = luaL_checklstring(L, 2, &cert_len), *pem = luaL_checklstring(L, 3, &key_len);
  passphrase_t passphrase = {0};
  passphrase.text = lua_tolstring(L, 4, &passphrase.len);
  libcrypto_clear();
  OPENSSL_STACK *chain;
  X509 *leaf = read_chain(cert, cert_len, &chain);
  if (leaf == NULL) return failed(L, "cert");
  BIO *bio = crypto_lib.BIO_new_mem_buf(pem, (int)key_len);
  EVP_PKEY *key =
      bio != NULL ? crypto_lib.PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, &passphrase) : NULL;
  crypto_lib.BIO_free(bio);
  const char *what = key != NULL ? use(ssl, leaf, key, chain) : passphrase.asked ? "passphrase" : "key";
  crypto_lib.EVP_PKEY_free(key);
  crypto_lib.X509_free(leaf);
  free_chain(chain);
  if (what != NULL) return failed(L, what);
  lua_pushboolean(L, 1);
  return 1;
}

/* The certificates of a PKCS#12 file that are not its leaf: authorities as well as chain, as in Node. */
static bool trust_all(tls_context_t *context, const OPENSSL_STACK *list) {
  int count = list != NULL ? crypto_lib.OPENSSL_sk_num(list) : 0;
  X509_STORE *store = count > 0 ? tls_context_store(context) : NULL;
  if (count > 0 && store == NULL) return false;
  for (int i = 0; i < count; i++) {
    X509 *authority = crypto_lib.OPENSSL_sk_value(list, i);
    if (crypto_lib.X509_STORE_add_cert(store, authority) != 1) return false;
    if (tls_lib.SSL_CTX_add_client_CA(context->ssl, authority) != 1) return false;
  }
  return true;
}

/* pfx(bytes, passphrase or nil) → true; or nil, what failed, the fault. */
int tls_context_pfx(lua_State *L) {
  tls_context_t *context = tls_context_at(L, 1);
  size_t len;
  const unsigned char *bytes = (const unsigned char *)luaL_checklstring(L, 2, &len);
  libcrypto_clear();
  PKCS12 *file = crypto_lib.d2i_PKCS12(NULL, &bytes, (long)len);
  if (file == NULL) return failed(L, "pfx");
  EVP_PKEY *key = NULL;
  X509 *leaf = NULL;
  STACK_OF(X509) *others = NULL;
  const char *passphrase = lua_tostring(L, 3);
  const char *what = NULL;
  if (crypto_lib.PKCS12_parse(file, passphrase != NULL ? passphrase : "", &key, &leaf, &others) != 1)
    what = "passphrase";
  else if (key == NULL || leaf == NULL) what = "pfx";
  else what = use(context->ssl, leaf, key, (OPENSSL_STACK *)others);
  if (what == NULL && !trust_all(context, (OPENSSL_STACK *)others)) what = "pfx";
  crypto_lib.PKCS12_free(file);
  crypto_lib.EVP_PKEY_free(key);
  crypto_lib.X509_free(leaf);
  free_chain((OPENSSL_STACK *)others);
  if (what != NULL) return failed(L, what);
  lua_pushboolean(L, 1);
  return 1;
}

static void push_der(lua_State *L, X509 *certificate) {
  unsigned char *der = NULL;
  int len = certificate != NULL ? crypto_lib.i2d_X509(certificate, &der) : 0;
  if (len > 0) lua_pushlstring(L, (const char *)der, (size_t)len);
  else lua_pushnil(L);
  libcrypto_free(der);
}

static X509 *issuer_of(SSL_CTX *ssl, X509 *leaf) {
  STACK_OF(X509) *chain = NULL;
  tls_lib.SSL_CTX_ctrl(ssl, SSL_CTRL_GET_CHAIN_CERTS, 0, &chain);
  for (int i = 0, n = chain != NULL ? crypto_lib.OPENSSL_sk_num((OPENSSL_STACK *)chain) : 0; i < n; i++) {
    X509 *each = crypto_lib.OPENSSL_sk_value((OPENSSL_STACK *)chain, i);
    if (crypto_lib.X509_check_issued(each, leaf) != X509_V_OK) continue;
    crypto_lib.X509_up_ref(each);
    return each;
  }
  X509 *issuer = NULL;
  X509_STORE_CTX *search = crypto_lib.X509_STORE_CTX_new();
  if (search != NULL &&
      crypto_lib.X509_STORE_CTX_init(search, tls_lib.SSL_CTX_get_cert_store(ssl), NULL, NULL) == 1 &&
      crypto_lib.X509_STORE_CTX_get1_issuer(&issuer, search, leaf) != 1)
    issuer = NULL;
  crypto_lib.X509_STORE_CTX_free(search);
  libcrypto_clear();
  return issuer;
}

/* certificate() → the last loaded certificate and its issuer, DER, each nil where unknown. */
int tls_context_certificate(lua_State *L) {
  SSL_CTX *ssl = tls_context_at(L, 1)->ssl;
  X509 *leaf = tls_lib.SSL_CTX_get0_certificate(ssl);
  X509 *issuer = leaf != NULL ? issuer_of(ssl, leaf) : NULL;
  push_der(L, leaf);
  push_der(L, issuer);
  crypto_lib.X509_free(issuer);
  return 2;
}
