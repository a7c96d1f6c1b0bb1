/* process/spawn.c: starts children. Owns the plan parser for all of them, and the process handle of each asynchronous
 * one: start → uv_spawn → running → on_exit → one entry into Lua → closed.
 *
 * Pipes and the channel of a child are made by Lua as pairs of descriptors, so all that a plan lends are
 * numbers. */
#include "process/spawn.h"

#include "host/callback.h"
#include "host/errors.h"
#include "host/modules.h"
#include "host/userdata.h"
#include "host/vm.h"
#include <fcntl.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

enum { OLD_KERNEL_LOOKS_TO = 64 }; /* no gap between open descriptors below this ends the search for more */

typedef struct child {
  uv_process_t process; /* closed by child_close; on_closed frees the child */
  vm_t *vm;
  int on_exit, self;  /* registry refs; self anchors the userdata while the process runs */
  struct child **box; /* in the userdata */
} child_t;

static const char *const metatable = "lrun.child.process";

/* The plan ------------------------------------------------------------------------------------------------ */

/* The strings of the sequence plan[field], ended by NULL, in a userdata on the stack. */
static char **read_strings(lua_State *L, int index, const char *field) {
  lua_getfield(L, index, field);
  if (lua_isnil(L, -1)) return NULL;
  size_t count = lua_objlen(L, -1);
  char **strings = lua_newuserdata(L, (count + 1) * sizeof *strings);
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, -2, (int)i + 1);
    strings[i] = (char *)luaL_checkstring(L, -1);
    lua_pop(L, 1);
  }
  strings[count] = NULL;
  return strings;
}

static const char *read_string(lua_State *L, int index, const char *field) {
  lua_getfield(L, index, field);
  const char *text = lua_tostring(L, -1);
  lua_pop(L, 1);
  return text;
}

static bool read_id(lua_State *L, int index, const char *field, unsigned *id) {
  lua_getfield(L, index, field);
  bool there = !lua_isnil(L, -1);
  if (there) *id = (unsigned)(int64_t)lua_tonumber(L, -1);
  lua_pop(L, 1);
  return there;
}

int spawn_slot(lua_State *L, int index, int slot) {
  lua_getfield(L, index, "stdio");
  lua_rawgeti(L, -1, slot + 1);
  int value = (int)lua_tointeger(L, -1);
  lua_pop(L, 2);
  return value;
}

static void read_stdio(lua_State *L, int index, uv_process_options_t *options) {
  lua_getfield(L, index, "stdio");
  size_t count = lua_objlen(L, -1);
  lua_pop(L, 1);
  if (count > SPAWN_MAX_SLOTS) luaL_error(L, "more than %d stdio slots", (int)SPAWN_MAX_SLOTS);
  options->stdio = lua_newuserdata(L, (count + 1) * sizeof *options->stdio);
  options->stdio_count = (int)count;
  for (int i = 0; i < (int)count; i++) {
    int fd = spawn_slot(L, index, i);
    options->stdio[i].flags = fd >= 0 ? UV_INHERIT_FD : UV_IGNORE;
    options->stdio[i].data.fd = fd;
  }
}

void spawn_read_plan(lua_State *L, int index, uv_process_options_t *options) {
  luaL_checktype(L, index, LUA_TTABLE);
  luaL_checkstack(L, 12, "plan");
  *options = (uv_process_options_t){0};
  options->file = read_string(L, index, "file");
  options->cwd = read_string(L, index, "cwd");
  options->args = read_strings(L, index, "args");
  options->env = read_strings(L, index, "env");
  read_stdio(L, index, options);
  if (read_id(L, index, "uid", &options->uid)) options->flags |= UV_PROCESS_SETUID;
  if (read_id(L, index, "gid", &options->gid)) options->flags |= UV_PROCESS_SETGID;
  lua_getfield(L, index, "detached");
  if (lua_toboolean(L, -1)) options->flags |= UV_PROCESS_DETACHED;
  lua_pop(L, 1);
}

/* Files of io.open and io.popen, what C modules opened and what we were started with are not closed on exec
 * by themselves: a child would hold them, and hold up the end of whatever is on their other side. Done as
 * late as this because any of them may be new. */
static void close_all_on_exec(void) {
  if (close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) == 0) return;
  for (int fd = STDERR_FILENO + 1; fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 || fd < OLD_KERNEL_LOOKS_TO; fd++) {}
}

int spawn_process(uv_loop_t *loop, uv_process_t *process, const uv_process_options_t *options) {
  close_all_on_exec();
  return uv_spawn(loop, process, options);
}

/* Asynchronous children ----------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle) { free(handle->data); }

/* After the exit, or when nothing was started. */
static void child_close(child_t *child) {
  lua_State *L = vm_state(child->vm);
  *child->box = NULL;
  luaL_unref(L, LUA_REGISTRYINDEX, child->on_exit);
  luaL_unref(L, LUA_REGISTRYINDEX, child->self);
  uv_close((uv_handle_t *)&child->process, on_closed);
}

static void on_exit_status(uv_process_t *process, int64_t status, int signal) {
  child_t *child = process->data;
  lua_State *L = vm_state(child->vm);
  lua_rawgeti(L, LUA_REGISTRYINDEX, child->on_exit);
  lua_pushnumber(L, (lua_Number)status);
  lua_pushinteger(L, signal);
  child_close(child);
  callback_enter(L, 2);
}

/* start(plan, on_exit) → child, pid; or nil and a negative code. on_exit(status, signal) runs once, and only
 * for a child that was started. */
static int l_start(lua_State *L) {
  uv_process_options_t options;
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  spawn_read_plan(L, 1, &options);
  options.exit_cb = on_exit_status;
  child_t *child = calloc(1, sizeof *child);
  if (!child) return luaL_error(L, "not enough memory");
  child->vm = vm_of(L);
  child->process.data = child;
  child->box = lua_newuserdata(L, sizeof *child->box);
  *child->box = child;
  luaL_getmetatable(L, metatable);
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  child->self = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pushvalue(L, 2);
  child->on_exit = luaL_ref(L, LUA_REGISTRYINDEX);
  int rc = spawn_process(vm_loop(child->vm), &child->process, &options);
  if (rc < 0) {
    child_close(child);
    lua_pushnil(L);
    lua_pushinteger(L, rc);
    return 2;
  }
  lua_pushinteger(L, child->process.pid);
  return 2;
}

static child_t *check_child(lua_State *L) { return *(child_t **)luaL_checkudata(L, 1, metatable); }

/* kill(signal) → 0 or a negative code */
static int l_kill(lua_State *L) {
  child_t *child = check_child(L);
  lua_pushinteger(L, child ? uv_process_kill(&child->process, (int)luaL_checkinteger(L, 2)) : UV_ESRCH);
  return 1;
}

static int l_ref(lua_State *L) {
  child_t *child = check_child(L);
  if (child) uv_ref((uv_handle_t *)&child->process);
  return 0;
}

static int l_unref(lua_State *L) {
  child_t *child = check_child(L);
  if (child) uv_unref((uv_handle_t *)&child->process);
  return 0;
}

int luaopen_lrun_spawn(lua_State *L) {
  static const luaL_Reg methods[] = {{"kill", l_kill}, {"ref", l_ref}, {"unref", l_unref}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"start", l_start}, {"sync", spawn_sync}, {NULL, NULL}};
  userdata_class(L, metatable, methods);
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  lua_pushinteger(L, SPAWN_IGNORE);
  lua_setfield(L, -2, "IGNORE");
  lua_pushinteger(L, SPAWN_PIPE);
  lua_setfield(L, -2, "PIPE");
  lua_pushinteger(L, SPAWN_MAX_SLOTS);
  lua_setfield(L, -2, "MAX_SLOTS");
  return 1;
}
