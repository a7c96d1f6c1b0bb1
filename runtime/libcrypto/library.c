/* libcrypto/library.c: see libcrypto/library.h. The library stays open until the process ends. */
#include "libcrypto/library.h"

#include "libcrypto/memory.h"
#include <stdio.h>
#include <string.h>

libcrypto_t crypto_lib;

#ifdef LRUN_LINK_OPENSSL

static const char *fill(void) {
#define TAKE(name) crypto_lib.name = name;
  CRYPTO_LIBRARY(TAKE)
#undef TAKE
  return NULL;
}

#else

#include <dlfcn.h>

static const char *fail(const char *file, const char *reason) {
  static char failure[512];
  snprintf(failure, sizeof failure, "OpenSSL 3 is needed: install the package libssl3 (%s: %s)", file,
           reason);
  return failure;
}

const char *libcrypto_open_file(const char *file, void *table, const libcrypto_symbol_t *symbols,
                                size_t count) {
  void *library = dlopen(file, RTLD_LAZY | RTLD_LOCAL);
  if (library == NULL) return fail(file, dlerror());
  for (size_t i = 0; i < count; i++) {
    void *address = dlsym(library, symbols[i].name);
    if (address == NULL) {
      const char *failure = fail(file, dlerror());
      dlclose(library);
      return failure;
    }
    memcpy((char *)table + symbols[i].offset, &address, sizeof address);
  }
  return NULL;
}

static const char *fill(void) {
#define ENTRY(name) {#name, offsetof(libcrypto_t, name)},
  static const libcrypto_symbol_t symbols[] = {CRYPTO_LIBRARY(ENTRY)};
#undef ENTRY
  return libcrypto_open_file("libcrypto.so.3", &crypto_lib, symbols, sizeof symbols / sizeof *symbols);
}

#endif

const char *libcrypto_open(void) {
  static bool open;
  if (open) return NULL;
  const char *error = fill();
  if (error != NULL) return error;
  libcrypto_memory_begin();
  /* A pool's thread may still work for a program that ends: nothing is taken down behind its back. */
  if (crypto_lib.OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL) != 1)
    return "OpenSSL could not be initialised";
  open = true;
  return NULL;
}
