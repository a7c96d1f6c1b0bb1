/* websocket/shared.c: see websocket/shared.h. One userdata in the registry owns it. */
#include "websocket/shared.h"

#include "host/vm.h"
#include "websocket/connection.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const char shared_key = 'w'; /* its address is the registry key */

/* The two that come next will be at hand. */
static void expect(const ws_shared_t *shared, size_t i, size_t count) {
  const ws_conn_t *next = i + 1 < count ? shared->dirty[i + 1] : NULL;
  const ws_conn_t *later = i + 2 < count ? shared->dirty[i + 2] : NULL;
  if (next != NULL) stream_expect_write(&next->stream);
  if (later != NULL) ws_conn_expect(later);
}

/* Those that are dirty now; who becomes it meanwhile has the next turn, and the loop does not wait before that. */
static void on_flush(uv_idle_t *handle) {
  ws_shared_t *shared = (ws_shared_t *)((char *)handle - offsetof(ws_shared_t, flush));
  size_t count = shared->dirty_count;
  for (size_t i = 0; i < count; i++) {
    expect(shared, i, count);
    ws_conn_t *conn = shared->dirty[i];
    if (conn == NULL) continue;
    shared->dirty[i] = NULL;
    conn->dirty = false;
    ws_conn_hold(conn);
    ws_conn_flush(shared->L, conn);
    ws_conn_let_go(conn);
  }
  shared->dirty_count -= count;
  if (shared->dirty_count > 0)
    memmove(shared->dirty, shared->dirty + count, shared->dirty_count * sizeof *shared->dirty);
  else uv_idle_stop(handle);
}

bool ws_shared_flush_soon(ws_shared_t *shared, ws_conn_t *conn) {
  if (shared->dirty_count == shared->dirty_cap) {
    size_t cap = shared->dirty_cap > 0 ? shared->dirty_cap * 2 : 64;
    ws_conn_t **dirty = realloc(shared->dirty, cap * sizeof(ws_conn_t *));
    if (dirty == NULL) return false;
    shared->dirty = dirty;
    shared->dirty_cap = cap;
  }
  shared->dirty[shared->dirty_count++] = conn;
  if (!uv_is_active((uv_handle_t *)&shared->flush)) uv_idle_start(&shared->flush, on_flush);
  return true;
}

void ws_shared_forget(ws_shared_t *shared, const ws_conn_t *conn) {
  for (size_t i = 0; i < shared->dirty_count; i++) {
    if (shared->dirty[i] == conn) shared->dirty[i] = NULL;
  }
}

static void free_all(void *data) {
  ws_shared_t *shared = data;
  ws_workshop_free(&shared->workshop);
  ws_deflaters_free(&shared->deflaters);
  buffer_free(&shared->compressed);
  free(shared->dirty);
  shared->dirty = NULL;
  shared->dirty_count = shared->dirty_cap = 0;
}

static ws_shared_t *make(lua_State *L) {
  lua_pushlightuserdata(L, (void *)&shared_key);
  ws_shared_t *shared = lua_newuserdata(L, sizeof *shared);
  memset(shared, 0, sizeof *shared);
  vm_t *vm = vm_of(L);
  shared->L = vm_state(vm);
  shared->loop = vm_loop(vm);
  shared->door = callback_state(L);
  for (int i = 0; i < WS_CALLBACKS; i++) shared->callbacks[i] = LUA_NOREF;
  uv_idle_init(shared->loop, &shared->flush);
  uv_unref((uv_handle_t *)&shared->flush);
  vm_at_exit(vm, free_all, shared);
  lua_rawset(L, LUA_REGISTRYINDEX);
  return shared;
}

ws_shared_t *ws_shared(lua_State *L) {
  lua_pushlightuserdata(L, (void *)&shared_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  ws_shared_t *shared = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return shared != NULL ? shared : make(L);
}

const uint8_t *ws_shared_mask(ws_shared_t *shared) {
  if (shared->masks_left == 0) {
    size_t got = 0;
    while (got < sizeof shared->masks) {
      ssize_t n = getrandom(shared->masks + got, sizeof shared->masks - got, 0);
      if (n > 0) got += (size_t)n;
    }
    shared->masks_left = sizeof shared->masks;
  }
  shared->masks_left -= 4;
  return shared->masks + shared->masks_left;
}
