/* tls/library.c: see tls/library.h. The library stays open until the process ends. It initialises itself, which includes the
 * reading of openssl.cnf, when the first context is made. */
#include "tls/library.h"

tls_library_t tls_lib;

#ifdef LRUN_LINK_OPENSSL

static const char *fill(void) {
#define TAKE(name) tls_lib.name = name;
  TLS_LIBRARY_SSL(TAKE)
  TAKE(SSL_get_ex_data_X509_STORE_CTX_idx)
#undef TAKE
  return NULL;
}

#else

static const char *fill(void) {
#define ENTRY(name) {#name, offsetof(tls_library_t, name)},
  static const libcrypto_symbol_t symbols[] = {TLS_LIBRARY_SSL(ENTRY)
                                                   ENTRY(SSL_get_ex_data_X509_STORE_CTX_idx)};
#undef ENTRY
  return libcrypto_open_file("libssl.so.3", &tls_lib, symbols, sizeof symbols / sizeof *symbols);
}

#endif

const char *tls_library_open(void) {
  static bool open;
  if (open) return NULL;
  const char *error = libcrypto_open();
  if (error == NULL) error = fill();
  if (error != NULL) return error;
  open = true;
  return NULL;
}
