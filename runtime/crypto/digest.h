/* crypto/digest.h: what takes bytes piece by piece and gives its digest once: a hash, a MAC. */
#ifndef LRUN_CRYPTO_DIGEST_H
#define LRUN_CRYPTO_DIGEST_H

#include <lauxlib.h>
#include <stdbool.h>
#include <stddef.h>

/* What libcrypto does with a context of one kind. */
typedef struct {
  const char *class_name;
  bool (*update)(void *context, const char *data, size_t len);
  bool (*finish)(void *context, unsigned char *bytes, size_t *len); /* room for EVP_MAX_MD_SIZE */
  void (*free)(void *context);                                      /* NULL is allowed */
} digest_kind_t;

/* Makes the class of the kind: its methods are update(data), digest() and those of `others`, which may take their place. */
void digest_class(lua_State *L, const digest_kind_t *kind, const luaL_Reg *others);

/* Pushes a userdata that owns the context which the caller puts there; NULL until then. */
void **digest_push(lua_State *L, const digest_kind_t *kind);

/* The context of the first argument; throws when its digest was made. */
void *digest_at(lua_State *L, const digest_kind_t *kind);

/* Frees the context of the first argument. */
void digest_drop(lua_State *L, const digest_kind_t *kind);

/* Returns the digest to Lua, or the fault. */
int digest_finish(lua_State *L, const digest_kind_t *kind);

#endif
