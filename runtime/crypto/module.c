/* crypto/module.c: the module `lrun.core.crypto`. Requiring it opens libcrypto; without that it is an error that names
 * the package. */
#include "crypto/crypto.h"

#include "crypto/job.h"
#include "host/errors.h"
#include "host/modules.h"
#include "libcrypto/fault.h"
#include <lauxlib.h>

int crypto_failed(lua_State *L) {
  lua_pushnil(L);
  libcrypto_fault_push(L, libcrypto_fault_take());
  return 2;
}

/* equal(a, b): strings of the same length, in a time that does not tell where they differ */
static int l_equal(lua_State *L) {
  size_t a_len, b_len;
  const char *a = luaL_checklstring(L, 1, &a_len), *b = luaL_checklstring(L, 2, &b_len);
  lua_pushboolean(L, a_len == b_len && crypto_lib.CRYPTO_memcmp(a, b, a_len) == 0);
  return 1;
}

int luaopen_lrun_crypto(lua_State *L) {
  const char *error = libcrypto_open();
  if (error != NULL) return errors_throw(L, "ERR_NO_CRYPTO", "%s", error);
  job_prepare(L);
  lua_newtable(L);
  lua_pushcfunction(L, l_equal);
  lua_setfield(L, -2, "equal");
  crypto_names_open(L);
  crypto_hash_open(L);
  crypto_mac_open(L);
  crypto_cipher_open(L);
  crypto_derive_open(L);
  crypto_key_open(L);
  crypto_generate_open(L);
  crypto_sign_open(L);
  return 1;
}
