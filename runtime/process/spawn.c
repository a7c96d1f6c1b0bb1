/* process/spawn.c: the module `lrun.core.spawn`, and its asynchronous children: start → plan_read → plan_launch →
 * running, under a watch → on_ended → one entry into Lua → closed.
 *
 * Pipes and the channel of a child are made by Lua as pairs of descriptors, so all that a plan lends are
 * numbers. */
#include "process/spawn.h"

#include "host/callback.h"
#include "host/errors.h"
#include "host/modules.h"
#include "host/userdata.h"
#include "host/vm.h"
#include "process/plan.h"
#include "process/watch.h"
#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>

typedef struct child {
  watch_t watch; /* closed by child_close; on_closed frees the child */
  vm_t *vm;
  int on_exit, self;  /* registry refs; self anchors the userdata while the process runs */
  struct child **box; /* in the userdata */
} child_t;

static const char *const metatable = "lrun.child.process";

static void on_closed(uv_handle_t *handle) { free(handle->data); }

/* After the exit, or when nothing was started. */
static void child_close(child_t *child) {
  lua_State *L = vm_state(child->vm);
  *child->box = NULL;
  luaL_unref(L, LUA_REGISTRYINDEX, child->on_exit);
  luaL_unref(L, LUA_REGISTRYINDEX, child->self);
  watch_close(&child->watch, on_closed);
}

static void on_ended(watch_t *watch, int code, int signal) {
  child_t *child = watch->handle.data;
  lua_State *L = vm_state(child->vm);
  lua_rawgeti(L, LUA_REGISTRYINDEX, child->on_exit);
  lua_pushinteger(L, code);
  lua_pushinteger(L, signal);
  child_close(child);
  callback_enter(L, 2);
}

/* Pushes its userdata. */
static child_t *child_new(lua_State *L, int on_exit) {
  child_t *child = calloc(1, sizeof *child);
  if (!child) return luaL_error(L, "not enough memory"), NULL;
  child->vm = vm_of(L);
  child->watch.handle.data = child;
  child->watch.pidfd = -1;
  child->box = lua_newuserdata(L, sizeof *child->box);
  *child->box = child;
  luaL_getmetatable(L, metatable);
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  child->self = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pushvalue(L, on_exit);
  child->on_exit = luaL_ref(L, LUA_REGISTRYINDEX);
  return child;
}

/* start(plan, on_exit) → child, pid; or nil and the error, which names the system call (see process/plan.h).
 * on_exit(code, signal) runs once, and only for a child that was started. */
static int l_start(lua_State *L) {
  plan_t plan;
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  if (!plan_read(L, 1, &plan)) return plan_failed(L);
  child_t *child = child_new(L, 2);
  pid_t pid = plan_launch(L, &plan);
  if (pid < 0) {
    child_close(child);
    return plan_failed(L);
  }
  int rc = watch_start(vm_loop(child->vm), &child->watch, pid, on_ended);
  if (rc < 0) {
    child_close(child);
    return errors_result(L, rc, "pidfd_open");
  }
  lua_pushinteger(L, pid);
  return 2;
}

static child_t *check_child(lua_State *L) { return *(child_t **)luaL_checkudata(L, 1, metatable); }

/* kill(signal) → true, or nil and the error */
static int l_kill(lua_State *L) {
  const child_t *child = check_child(L);
  int signal = (int)luaL_checkinteger(L, 2);
  if (child && signal != 0) vm_flush(child->vm, false);
  return errors_result(L, child ? watch_kill(&child->watch, signal) : UV_ESRCH, "kill");
}

static int l_ref(lua_State *L) {
  child_t *child = check_child(L);
  if (child) uv_ref(&child->watch.handle);
  return 0;
}

static int l_unref(lua_State *L) {
  child_t *child = check_child(L);
  if (child) uv_unref(&child->watch.handle);
  return 0;
}

int luaopen_lrun_spawn(lua_State *L) {
  static const luaL_Reg methods[] = {{"kill", l_kill}, {"ref", l_ref}, {"unref", l_unref}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"start", l_start}, {"sync", spawn_sync}, {NULL, NULL}};
  userdata_class(L, metatable, methods);
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  plan_export(L);
  return 1;
}
