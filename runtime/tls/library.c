/* tls/library.c: see tls/library.h. The libraries stay open until the process ends. */
#include "tls/library.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

tls_library_t tls_lib;

#ifdef LRUN_LINK_OPENSSL

static const char *fill(void) {
#define TAKE(name) tls_lib.name = name;
  TLS_LIBRARY_SSL(TAKE)
  TLS_LIBRARY_CRYPTO(TAKE)
  TAKE(SSL_get_ex_data_X509_STORE_CTX_idx)
#undef TAKE
  return NULL;
}

#else

#include <dlfcn.h>

typedef struct {
  const char *name;
  size_t offset;
} symbol_t;

#define ENTRY(name) {#name, offsetof(tls_library_t, name)},
static const symbol_t ssl_symbols[] = {TLS_LIBRARY_SSL(ENTRY) ENTRY(SSL_get_ex_data_X509_STORE_CTX_idx)};
static const symbol_t crypto_symbols[] = {TLS_LIBRARY_CRYPTO(ENTRY)};
#undef ENTRY

static char failure[512];

static const char *fail(const char *library, const char *reason) {
  snprintf(failure, sizeof failure, "TLS needs OpenSSL 3: install the package libssl3 (%s: %s)", library,
           reason);
  return failure;
}

static const char *find(void *library, const char *name, const symbol_t *symbols, size_t count) {
  for (size_t i = 0; i < count; i++) {
    void *address = dlsym(library, symbols[i].name);
    if (address == NULL) return fail(name, dlerror());
    memcpy((char *)&tls_lib + symbols[i].offset, &address, sizeof address);
  }
  return NULL;
}

static const char *fill(void) {
  static const char crypto_name[] = "libcrypto.so.3", ssl_name[] = "libssl.so.3";
  void *crypto = dlopen(crypto_name, RTLD_LAZY | RTLD_LOCAL);
  if (crypto == NULL) return fail(crypto_name, dlerror());
  void *ssl = dlopen(ssl_name, RTLD_LAZY | RTLD_LOCAL);
  const char *error = ssl == NULL ? fail(ssl_name, dlerror()) : NULL;
  if (error == NULL) error = find(ssl, ssl_name, ssl_symbols, sizeof ssl_symbols / sizeof *ssl_symbols);
  if (error == NULL)
    error = find(crypto, crypto_name, crypto_symbols, sizeof crypto_symbols / sizeof *crypto_symbols);
  if (error == NULL) return NULL;
  if (ssl != NULL) dlclose(ssl);
  dlclose(crypto);
  return error;
}

#endif

const char *tls_library_open(void) {
  static bool open;
  if (open) return NULL;
  const char *error = fill();
  if (error != NULL) return error;
  if (tls_lib.OPENSSL_init_ssl(0, NULL) != 1) return "OpenSSL could not be initialised";
  open = true;
  return NULL;
}
