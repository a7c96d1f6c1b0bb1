/* crypto/digest.c: the life of a context in a userdata; see crypto/digest.h. What it takes goes at once when it has done its
 * work: no collector sees how much that is. The methods have their kind as an upvalue. */
#include "crypto/digest.h"

#include "crypto/crypto.h"

typedef struct {
  void *context; /* NULL when the digest was made */
} holder_t;

static const digest_kind_t *kind_of(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

static holder_t *holder_at(lua_State *L, const digest_kind_t *kind) {
  return luaL_checkudata(L, 1, kind->class_name);
}

void *digest_at(lua_State *L, const digest_kind_t *kind) {
  const holder_t *holder = holder_at(L, kind);
  if (holder->context == NULL) luaL_error(L, "the digest was made");
  return holder->context;
}

void **digest_push(lua_State *L, const digest_kind_t *kind) {
  holder_t *holder = lua_newuserdata(L, sizeof *holder);
  holder->context = NULL;
  luaL_getmetatable(L, kind->class_name);
  lua_setmetatable(L, -2);
  return &holder->context;
}

void digest_drop(lua_State *L, const digest_kind_t *kind) {
  holder_t *holder = holder_at(L, kind);
  kind->free(holder->context);
  holder->context = NULL;
}

int digest_finish(lua_State *L, const digest_kind_t *kind) {
  void *context = digest_at(L, kind);
  unsigned char bytes[EVP_MAX_MD_SIZE];
  size_t len = sizeof bytes;
  libcrypto_clear();
  if (!kind->finish(context, bytes, &len)) return crypto_failed(L);
  lua_pushlstring(L, (const char *)bytes, len);
  digest_drop(L, kind);
  return 1;
}

/* update(data) → true */
static int l_update(lua_State *L) {
  const digest_kind_t *kind = kind_of(L);
  void *context = digest_at(L, kind);
  size_t len;
  const char *data = luaL_checklstring(L, 2, &len);
  libcrypto_clear();
  if (!kind->update(context, data, len)) return crypto_failed(L);
  lua_pushboolean(L, 1);
  return 1;
}

/* digest() → bytes. Once. */
static int l_digest(lua_State *L) { return digest_finish(L, kind_of(L)); }

static int l_gc(lua_State *L) {
  digest_drop(L, kind_of(L));
  return 0;
}

void digest_class(lua_State *L, const digest_kind_t *kind, const luaL_Reg *others) {
  static const luaL_Reg methods[] = {
      {"update", l_update}, {"digest", l_digest}, {"__gc", l_gc}, {NULL, NULL}};
  luaL_newmetatable(L, kind->class_name);
  lua_pushlightuserdata(L, (void *)kind);
  luaL_openlib(L, NULL, methods, 1);
  luaL_register(L, NULL, others);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
