/* io/file_callback.c: see io/file_callback.h. */
#include "io/file_callback.h"

#include "host/vm.h"

#include <lauxlib.h>
#include <stdlib.h>

typedef struct {
  lua_State *L; /* the main state */
  int ref;      /* registry ref of the function */
} file_callback_t;

static void on_done(void *data, int status, uint64_t sent) {
  file_callback_t callback = *(file_callback_t *)data;
  free(data);
  lua_State *co = callback_begin(callback.L);
  lua_rawgeti(co, LUA_REGISTRYINDEX, callback.ref);
  luaL_unref(callback.L, LUA_REGISTRYINDEX, callback.ref);
  if (status < 0) lua_pushinteger(co, status);
  else lua_pushnil(co);
  lua_pushnumber(co, (lua_Number)sent);
  callback_run(co, 2);
}

int file_callback_open(lua_State *L, int index, stream_file_t *file) {
  file->done = NULL;
  if (lua_isnoneornil(L, index)) return 0;
  file_callback_t *callback = malloc(sizeof *callback);
  if (callback == NULL) return UV_ENOMEM;
  callback->L = vm_state(vm_of(L));
  lua_pushvalue(L, index);
  callback->ref = luaL_ref(L, LUA_REGISTRYINDEX);
  file->done = on_done;
  file->data = callback;
  return 0;
}

void file_callback_forget(const stream_file_t *file) {
  if (file->done != NULL) free(file->data);
}

void file_callback_drop(const stream_file_t *file) {
  if (file->done == NULL) return;
  file_callback_t *callback = file->data;
  luaL_unref(callback->L, LUA_REGISTRYINDEX, callback->ref);
  free(callback);
}
