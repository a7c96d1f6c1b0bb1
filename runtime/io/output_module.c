/* io/output_module.c: the module `lrun.core.output`: `print`, the methods of io.stdout that a buffer of C's would have
 * served, and the moments at which a VM's output goes to the kernel. */
#include "host/callback.h"
#include "host/errors.h"
#include "host/hooks.h"
#include "host/modules.h"
#include "host/vm.h"
#include "io/output.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

/* The turns of a VM's loop. It is never closed, and keeps nothing alive. It is stopped where a turn has written nothing. */
static struct {
  uv_prepare_t handle;
  vm_t *vm;
} turns;

static bool end_turn(vm_t *vm) {
  bool written = output_turn();
  if (output_failure() == 0) return written;
  lua_State *L = vm_state(vm);
  if (!callback_push_hook(L, HOOK_OUTPUT)) return true;
  lua_pushinteger(L, output_take_failure());
  callback_enter(L, 1);
  return true;
}

void output_report(vm_t *vm) { end_turn(vm); }

static void on_turn(uv_prepare_t *handle) {
  if (!end_turn(turns.vm)) uv_prepare_stop(handle);
}

static void begin_turn(void) { uv_prepare_start(&turns.handle, on_turn); }

static void on_flush(void *data, bool last) {
  (void)data;
  (void)last;
  output_flush();
}

void output_attach(vm_t *vm) {
  vm_at_flush(vm, on_flush, NULL);
  turns.vm = vm;
  turns.handle.data = NULL;
  uv_prepare_init(vm_loop(vm), &turns.handle);
  uv_unref((uv_handle_t *)&turns.handle);
  output_each_turn(begin_turn);
}

/* print ----------------------------------------------------------------------------------------------------- */

enum { LINE_SIZE = 8192, INTEGER_LENGTH = 11 /* of -2147483648 */ };
enum {
  TOSTRING_NAME = 1,
  TOSTRING = 2
}; /* upvalues of print: "tostring", and Lua's own function of that name */

static bool is_small_integer(lua_Number number) {
  int integer = (int)number;
  return number >= -2147483648.0 && number <= 2147483647.0 && (lua_Number)integer == number &&
         (integer != 0 || !signbit(number));
}

static char *put_integer(char *at, int integer) {
  char digits[INTEGER_LENGTH];
  unsigned rest = integer < 0 ? 0u - (unsigned)integer : (unsigned)integer;
  int count = 0;
  if (integer < 0) *at++ = '-';
  do digits[count++] = (char)('0' + rest % 10);
  while (rest /= 10);
  while (count > 0) *at++ = digits[--count];
  return at;
}

/* Replaces argument `index` by its text, unless put_argument can do without; the bytes that takes at most. */
static size_t prepare_argument(lua_State *L, int index, bool own_tostring) {
  int type = lua_type(L, index);
  if (!own_tostring || (type != LUA_TSTRING && type != LUA_TNUMBER)) {
    lua_pushvalue(L, lua_upvalueindex(TOSTRING_NAME));
    lua_rawget(L, LUA_GLOBALSINDEX);
    lua_pushvalue(L, index);
    lua_call(L, 1, 1);
    if (!lua_isstring(L, -1)) luaL_error(L, "'tostring' must return a string to 'print'");
    lua_replace(L, index);
  }
  if (lua_type(L, index) == LUA_TNUMBER && is_small_integer(lua_tonumber(L, index))) return INTEGER_LENGTH;
  size_t length;
  lua_tolstring(L, index, &length);
  return length;
}

static char *put_argument(lua_State *L, int index, char *at) {
  if (lua_type(L, index) == LUA_TNUMBER) return put_integer(at, (int)lua_tonumber(L, index));
  size_t length;
  const char *text = lua_tolstring(L, index, &length);
  memcpy(at, text, length);
  return at + length;
}

/* The hook throws where nobody listens: nothing else ends a loop that prints for a reader that is gone. */
static int tell_failure(lua_State *L) {
  if (!callback_push_hook(L, HOOK_OUTPUT)) return 0;
  lua_pushinteger(L, output_take_failure());
  lua_call(L, 1, 0);
  return 0;
}

static void print_into(lua_State *L, int count, char *bytes) {
  char *at = bytes;
  for (int i = 1; i <= count; i++) {
    if (i > 1) *at++ = '\t';
    at = put_argument(L, i, at);
  }
  *at++ = '\n';
  output_write(bytes, (size_t)(at - bytes));
}

/* A frame of its own: an error thrown past the array would leave it marked for the address sanitizer. */
static __attribute__((noinline)) void print_line(lua_State *L, int count) {
  char line[LINE_SIZE];
  print_into(L, count, line);
}

/* print(...): Lua's own, in one piece. */
static int l_print(lua_State *L) {
  int count = lua_gettop(L);
  lua_pushvalue(L, lua_upvalueindex(TOSTRING_NAME));
  lua_rawget(L, LUA_GLOBALSINDEX);
  bool own_tostring = lua_rawequal(L, -1, lua_upvalueindex(TOSTRING)) != 0;
  lua_pop(L, 1);
  size_t size = (size_t)count + 1;
  for (int i = 1; i <= count; i++) size += prepare_argument(L, i, own_tostring);
  if (size <= LINE_SIZE) print_line(L, count);
  else print_into(L, count, lua_newuserdata(L, size));
  return output_failure() == UV_EPIPE ? tell_failure(L) : 0;
}

/* The rest -------------------------------------------------------------------------------------------------- */

/* write(data, now) → true, or nil and the code's name. Without `now` a failure is for HOOK_OUTPUT to tell. */
static int l_write(lua_State *L) {
  size_t length;
  const char *data = luaL_checklstring(L, 1, &length);
  output_write(data, length);
  if (lua_toboolean(L, 2)) {
    int rc = output_flush();
    if (rc == 0) rc = output_failure();
    if (rc < 0) {
      output_take_failure();
      return errors_code(L, rc);
    }
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int l_flush(lua_State *L) {
  (void)L;
  output_flush();
  return 0;
}

static int l_guard(lua_State *L) {
  (void)L;
  output_guard();
  return 0;
}

/* Methods that io.stdout has anew: upvalues are Lua's own, and io.stdout. */
enum { PLAIN = 1, STDOUT = 2 };

static int call_plain(lua_State *L) {
  lua_pushvalue(L, lua_upvalueindex(PLAIN));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

/* As Lua's functions on files return it. */
static int file_result(lua_State *L, int rc) {
  if (rc == 0) {
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_pushnil(L);
  lua_pushstring(L, strerror(-rc));
  lua_pushinteger(L, -rc);
  return 3;
}

/* file:flush() and io.flush() */
static int l_file_flush(lua_State *L) {
  bool ours = lua_rawequal(L, 1, lua_upvalueindex(STDOUT)) != 0;
  if (ours) return file_result(L, output_flush());
  if (lua_isnone(L, 1)) output_flush();
  return call_plain(L);
}

/* file:setvbuf(mode[, size]) */
static int l_file_setvbuf(lua_State *L) {
  static const char *const modes[] = {"full", "line", "no", NULL};
  if (!lua_rawequal(L, 1, lua_upvalueindex(STDOUT))) return call_plain(L);
  output_gather((output_gather_t)luaL_checkoption(L, 2, NULL, modes));
  return file_result(L, 0);
}

static void replace(lua_State *L, int table, const char *name, lua_CFunction function, int output) {
  lua_getfield(L, table, name);
  lua_pushvalue(L, output);
  lua_pushcclosure(L, function, 2);
  lua_setfield(L, table, name);
}

/* install(io): puts them into `io`, and `print` into the globals. */
static int l_install(lua_State *L) {
  lua_settop(L, 1);
  lua_getfield(L, 1, "stdout");
  lua_getmetatable(L, 2);
  lua_getfield(L, 3, "__index");
  replace(L, 4, "flush", l_file_flush, 2);
  replace(L, 4, "setvbuf", l_file_setvbuf, 2);
  replace(L, 1, "flush", l_file_flush, 2);
  lua_pushliteral(L, "tostring");
  lua_getglobal(L, "tostring");
  lua_pushcclosure(L, l_print, 2);
  lua_setglobal(L, "print");
  return 0;
}

int luaopen_lrun_output(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"write", l_write}, {"flush", l_flush}, {"guard", l_guard}, {"install", l_install}, {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  return 1;
}
