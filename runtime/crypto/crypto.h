/* crypto/crypto.h: what the files of this room share. Each file is a part of the module `lrun.core.crypto`; arguments
 * were checked in Lua. What fails returns nil and the table of the fault (libcrypto/fault.h). */
#ifndef LRUN_CRYPTO_CRYPTO_H
#define LRUN_CRYPTO_CRYPTO_H

#include "libcrypto/library.h"

#include <lua.h>

/* crypto/names.c: by any name that OpenSSL knows, in either case; NULL for none. They live as long as the process. */
const EVP_MD *crypto_digest(const char *name);
const EVP_CIPHER *crypto_cipher(const char *name);

/* crypto/key.c: the key at `index` of the stack. */
EVP_PKEY *crypto_key_at(lua_State *L, int index);
/* Pushes a key, and takes it. */
void crypto_key_push(lua_State *L, EVP_PKEY *key);

/* Nil and the oldest error of the queue. */
int crypto_failed(lua_State *L);

/* Each adds its functions to the table on top. */
void crypto_names_open(lua_State *L);
void crypto_hash_open(lua_State *L);
void crypto_mac_open(lua_State *L);
void crypto_cipher_open(lua_State *L);
void crypto_derive_open(lua_State *L);
void crypto_key_open(lua_State *L);
void crypto_generate_open(lua_State *L);
void crypto_sign_open(lua_State *L);

#endif
