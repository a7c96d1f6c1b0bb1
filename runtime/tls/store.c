/* tls/store.c: which authorities are trusted: those that a program names, or the system's.
 *
 * The system's store is one for all contexts, made when the first of them needs it. It is the hashed directory, from
 * which OpenSSL takes the one certificate that it needs: reading the whole bundle takes 20 ms. SSL_CERT_FILE takes the
 * place of all that, SSL_CERT_DIR names another directory, NODE_EXTRA_CA_CERTS adds a file. */
#include "tls/context.h"
#include "tls/fault.h"

#include <ctype.h>
#include <dirent.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

X509_STORE *tls_context_store(tls_context_t *context) {
  if (context->own_store) return tls_lib.SSL_CTX_get_cert_store(context->ssl);
  X509_STORE *store = crypto_lib.X509_STORE_new();
  if (store == NULL) return NULL;
  tls_lib.SSL_CTX_set_cert_store(context->ssl, store); /* owns it from now on */
  context->own_store = true;
  return store;
}

/* Reads all certificates of a PEM text; what stands between them does not matter. Their count, or -1. */
static int read_authorities(const char *pem, size_t len, X509_STORE *store, SSL_CTX *ssl) {
  BIO *bio = crypto_lib.BIO_new_mem_buf(pem, (int)len);
  if (bio == NULL) return -1;
  int count = 0;
  bool good = true;
  X509 *each;
  char none[1] = "";
  while (good && (each = crypto_lib.PEM_read_bio_X509(bio, NULL, NULL, none)) != NULL) {
    good = crypto_lib.X509_STORE_add_cert(store, each) == 1;
    if (good && ssl != NULL) good = tls_lib.SSL_CTX_add_client_CA(ssl, each) == 1;
    crypto_lib.X509_free(each);
    count++;
  }
  crypto_lib.BIO_free(bio);
  unsigned long error = crypto_lib.ERR_peek_last_error();
  bool end = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
  if (!good || !end || count == 0) return -1;
  crypto_lib.ERR_clear_error();
  return count;
}

/* addCA(pem): authorities to believe, in place of the system's. */
int tls_context_add_ca(lua_State *L) {
  tls_context_t *context = tls_context_at(L, 1);
  size_t len;
  const char *pem = luaL_checklstring(L, 2, &len);
  libcrypto_clear();
  X509_STORE *store = tls_context_store(context);
  if (store == NULL || read_authorities(pem, len, store, context->ssl) < 0) return tls_fault_return(L);
  lua_pushboolean(L, 1);
  return 1;
}

/* addCRL(pem): from now on the whole chain is looked up in revocation lists. */
int tls_context_add_crl(lua_State *L) {
  tls_context_t *context = tls_context_at(L, 1);
  size_t len;
  const char *pem = luaL_checklstring(L, 2, &len);
  libcrypto_clear();
  X509_STORE *store = tls_context_store(context);
  BIO *bio = crypto_lib.BIO_new_mem_buf(pem, (int)len);
  int count = 0;
  char none[1] = "";
  X509_CRL *each;
  while (store != NULL && bio != NULL &&
         (each = crypto_lib.PEM_read_bio_X509_CRL(bio, NULL, NULL, none)) != NULL) {
    count += crypto_lib.X509_STORE_add_crl(store, each) == 1;
    crypto_lib.X509_CRL_free(each);
  }
  crypto_lib.BIO_free(bio);
  if (count == 0) return tls_fault_return(L);
  libcrypto_clear();
  crypto_lib.X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
  lua_pushboolean(L, 1);
  return 1;
}

/* The system's store ------------------------------------------------------------------------------------------ */

/* Names as c_rehash makes them: eight digits, a dot, a number. */
static bool is_hashed(const char *path) {
  DIR *dir = opendir(path);
  if (dir == NULL) return false;
  bool found = false;
  const struct dirent *entry;
  while (!found && (entry = readdir(dir)) != NULL) {
    size_t digits = strspn(entry->d_name, "0123456789abcdef");
    found = digits == 8 && entry->d_name[8] == '.' && isdigit((unsigned char)entry->d_name[9]);
  }
  closedir(dir);
  return found;
}

static bool add_file(X509_STORE *store, const char *path) {
  FILE *file = fopen(path, "re");
  if (file == NULL) return false;
  char *text = NULL;
  size_t len = 0, cap = 0;
  for (;;) {
    if (cap - len < 65536) {
      char *more = realloc(text, cap += 1048576);
      if (more == NULL) break;
      text = more;
    }
    size_t n = fread(text + len, 1, cap - len, file);
    if (n == 0 || len > 64 * 1048576) break;
    len += n;
  }
  fclose(file);
  bool good = text != NULL && read_authorities(text, len, store, NULL) > 0;
  free(text);
  libcrypto_clear();
  return good;
}

static void add_dir(X509_STORE *store, const char *path) {
  X509_LOOKUP *lookup = crypto_lib.X509_STORE_add_lookup(store, crypto_lib.X509_LOOKUP_hash_dir());
  if (lookup != NULL) crypto_lib.X509_LOOKUP_ctrl(lookup, X509_L_ADD_DIR, path, X509_FILETYPE_PEM, NULL);
  libcrypto_clear();
}

static const char *given(const char *name) {
  const char *value = getenv(name);
  return value != NULL && *value != '\0' ? value : NULL;
}

static void fill_from_system(X509_STORE *store) {
  const char *file = given("SSL_CERT_FILE"), *dir = given("SSL_CERT_DIR"),
             *extra = given("NODE_EXTRA_CA_CERTS");
  if (file != NULL) add_file(store, file);
  if (dir != NULL) add_dir(store, dir);
  if (file == NULL && dir == NULL) {
    const char *usual = crypto_lib.X509_get_default_cert_dir();
    if (is_hashed(usual)) add_dir(store, usual);
    else add_file(store, crypto_lib.X509_get_default_cert_file());
  }
  if (extra != NULL && !add_file(store, extra))
    fprintf(stderr,
            "Warning: Ignoring extra certs from NODE_EXTRA_CA_CERTS: no certificate can be read from %s\n",
            extra);
}

/* systemStore(): the context believes whom the system believes, beside what was added to it. */
int tls_context_system_store(lua_State *L) {
  static X509_STORE *shared;
  tls_context_t *context = tls_context_at(L, 1);
  libcrypto_clear();
  if (context->own_store) {
    fill_from_system(tls_lib.SSL_CTX_get_cert_store(context->ssl));
  } else {
    if (shared == NULL && (shared = crypto_lib.X509_STORE_new()) != NULL) fill_from_system(shared);
    if (shared == NULL) return tls_fault_return(L);
    tls_lib.SSL_CTX_set1_cert_store(context->ssl, shared);
  }
  lua_pushboolean(L, 1);
  return 1;
}
