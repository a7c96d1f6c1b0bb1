/* tls/module.c: the module `lrun.core.tls`. Requiring it opens libssl; without that it is an error that names the
 * package. */
#include "tls/context.h"
#include "tls/handle.h"

#include "host/errors.h"
#include "host/modules.h"

/* defaultStore() → the directory and the file in which the system keeps what it trusts */
static int l_default_store(lua_State *L) {
  lua_pushstring(L, crypto_lib.X509_get_default_cert_dir());
  lua_pushstring(L, crypto_lib.X509_get_default_cert_file());
  return 2;
}

int luaopen_lrun_tls(lua_State *L) {
  const char *error = tls_library_open();
  if (error != NULL) return errors_throw(L, "ERR_TLS_LIBRARY", "%s", error);
  lua_newtable(L);
  tls_context_open(L);
  tls_policy_open(L);
  tls_handle_open(L);
  lua_pushcfunction(L, l_default_store);
  lua_setfield(L, -2, "defaultStore");
  return 1;
}
