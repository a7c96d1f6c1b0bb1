/* files/work.c: see files/work.h. The work belongs to the pool, then to on_done, which is its only way out. */
#include "files/work.h"

#include "host/callback.h"
#include "host/vm.h"

#include <lauxlib.h>

static void on_run(uv_work_t *request) {
  work_t *work = (work_t *)request;
  work->run(work);
}

static void on_done(uv_work_t *request, int status) {
  work_t *work = (work_t *)request;
  (void)status; /* nobody cancels it */
  lua_State *co = callback_begin(work->L);
  lua_rawgeti(co, LUA_REGISTRYINDEX, work->callback);
  luaL_unref(co, LUA_REGISTRYINDEX, work->callback);
  int count = work->push(work, co);
  work->free(work);
  callback_run(co, count);
}

void work_start(lua_State *L, work_t *work, int callback) {
  vm_t *vm = vm_of(L);
  work->L = vm_state(vm);
  lua_pushvalue(L, callback);
  work->callback = luaL_ref(L, LUA_REGISTRYINDEX);
  uv_queue_work(vm_loop(vm), &work->request, on_run, on_done);
}
