/* host/vm.c: one Lua state and one loop. Opens the libraries, runs the main chunk on a coroutine, runs the loop
 * until nothing keeps it alive, and ends.
 *
 * At the end of a process memory is left to the kernel: handles may still be open and scripts may hold on to
 * anything, so a teardown would cost time and could only fail. What must not be lost is written by the exit hooks.
 * vm_free is for a VM that ends before its process does. */
#include "host/vm.h"

#include "host/bundle.h"
#include "host/callback.h"
#include "host/collector.h"
#include "host/hooks.h"
#include "host/jit_repair.h"
#include "host/modules.h"
#include "host/pool.h"
#include "io/output.h"
#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <luv/luv.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#ifdef LRUN_SANITIZE
#include <sanitizer/lsan_interface.h>
#endif

typedef struct exit_hook {
  SLIST_ENTRY(exit_hook) link;
  vm_exit_hook run;
  void *data;
} exit_hook_t;

typedef struct flush_hook {
  STAILQ_ENTRY(flush_hook) link;
  vm_flush_hook run;
  void *data;
} flush_hook_t;

struct vm {
  lua_State *L;
  pool_t *pool;
  uv_loop_t loop;
  SLIST_HEAD(, exit_hook) exit_hooks; /* newest first */
  STAILQ_HEAD(, flush_hook) flush_hooks;
  bool running;  /* the loop */
  bool flushing; /* the hook runs */
};

vm_t *vm_of(lua_State *L) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, SLOT_VM);
  vm_t *vm = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return vm;
}

uv_loop_t *vm_loop(vm_t *vm) { return &vm->loop; }
lua_State *vm_state(vm_t *vm) { return vm->L; }

bool vm_set_running(vm_t *vm, bool running) {
  bool before = vm->running;
  vm->running = running;
  return before;
}

void vm_at_exit(vm_t *vm, vm_exit_hook run, void *data) {
  exit_hook_t *hook = malloc(sizeof *hook);
  if (!hook) abort();
  *hook = (exit_hook_t){.run = run, .data = data};
  SLIST_INSERT_HEAD(&vm->exit_hooks, hook, link);
}

void vm_forget_exit(vm_t *vm, vm_exit_hook run, void *data) {
  exit_hook_t *hook;
  SLIST_FOREACH(hook, &vm->exit_hooks, link) if (hook->run == run && hook->data == data) break;
  if (!hook) return;
  SLIST_REMOVE(&vm->exit_hooks, hook, exit_hook, link);
  free(hook);
}

static void run_exit_hooks(vm_t *vm) {
  exit_hook_t *hook;
  while ((hook = SLIST_FIRST(&vm->exit_hooks))) {
    SLIST_REMOVE_HEAD(&vm->exit_hooks, link);
    hook->run(hook->data);
    free(hook);
  }
}

void vm_at_flush(vm_t *vm, vm_flush_hook run, void *data) {
  flush_hook_t *hook = malloc(sizeof *hook);
  if (!hook) abort();
  *hook = (flush_hook_t){.run = run, .data = data};
  STAILQ_INSERT_TAIL(&vm->flush_hooks, hook, link);
}

void vm_forget_flush(vm_t *vm, vm_flush_hook run, void *data) {
  flush_hook_t *hook;
  STAILQ_FOREACH(hook, &vm->flush_hooks, link) if (hook->run == run && hook->data == data) break;
  if (!hook) return;
  STAILQ_REMOVE(&vm->flush_hooks, hook, flush_hook, link);
  free(hook);
}

/* Lua first: what it gives out then is written by the others. What it does there may flush, too. */
void vm_flush(vm_t *vm, bool last) {
  if (!vm->flushing && callback_push_hook(vm->L, HOOK_FLUSH)) {
    vm->flushing = true;
    callback_enter(vm->L, 0);
    vm->flushing = false;
  }
  const flush_hook_t *hook;
  STAILQ_FOREACH(hook, &vm->flush_hooks, link) hook->run(hook->data, last);
}

void vm_exit(vm_t *vm, int code) {
  vm_flush(vm, true);
  run_exit_hooks(vm);
  exit(code);
}

#ifdef LRUN_SANITIZE
/* The leak checker does not look into LuaJIT's own arenas; what only Lua objects point to would seem lost.
 * Nor does it follow the trace compiler's pointers to before the start of its buffers: all of LuaJIT's memory
 * is taken as in use, together with what it points to. */
static void *sanitized_alloc(void *ud, void *ptr, size_t old_size, size_t size) {
  (void)ud;
  (void)old_size;
  if (size == 0) {
    free(ptr);
    return NULL;
  }
  __lsan_disable();
  ptr = realloc(ptr, size);
  __lsan_enable();
  return ptr;
}
static lua_State *new_state(pool_t **pool) {
  *pool = NULL;
  return lua_newstate(sanitized_alloc, NULL);
}
#else
static lua_State *new_state(pool_t **pool) {
  lua_State *L = luaL_newstate();
  *pool = L ? pool_open(L) : NULL;
  return L;
}
#endif

static int panic(lua_State *L) {
  const char *message = lua_tostring(L, -1);
  fprintf(stderr, "lrun: %s\n", message ? message : "an error outside of protected code");
  return 0;
}

int vm_new(vm_t **out) {
  vm_t *vm = calloc(1, sizeof *vm);
  if (!vm) return UV_ENOMEM;
  STAILQ_INIT(&vm->flush_hooks);
  int rc = uv_loop_init(&vm->loop);
  if (rc < 0) {
    free(vm);
    return rc;
  }
  lua_State *L = vm->L = new_state(&vm->pool);
  if (!L) {
    uv_loop_close(&vm->loop);
    free(vm);
    return UV_ENOMEM;
  }
  lua_atpanic(L, panic);
  collector_stop(L); /* nothing of the start becomes garbage; boot.lua turns it on before the script */
  lua_pushlightuserdata(L, vm);
  lua_rawseti(L, LUA_REGISTRYINDEX, SLOT_VM);
  callback_init(L);
  output_open();
  luaL_openlibs(L);
  jit_repair_begin(L);
  luv_set_loop(L, &vm->loop);
  luv_set_callback(L, callback_luv);
  output_attach(vm);
  bundle_init(L);
  lua_pushboolean(L, 0); /* json/state.c fills it */
  lua_rawseti(L, LUA_REGISTRYINDEX, SLOT_JSON);
  *out = vm;
  return 0;
}

static void close_rest(uv_handle_t *handle, void *data) {
  (void)data;
  if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

/* The finalizers of the Lua state come first: they know how what they own is closed, luv's handles among it. What
 * nobody has closed then is active no more, so that no callback looks for the state. */
void vm_free(vm_t *vm) {
  vm_flush(vm, true);
  run_exit_hooks(vm);
  uv_run(&vm->loop, UV_RUN_NOWAIT); /* what is being closed already tells Lua so */
  lua_close(vm->L);
  pool_close(vm->pool);
  uv_walk(&vm->loop, close_rest, NULL);
  while (uv_loop_close(&vm->loop) == UV_EBUSY) uv_run(&vm->loop, UV_RUN_NOWAIT);
  flush_hook_t *hook;
  while ((hook = STAILQ_FIRST(&vm->flush_hooks))) {
    STAILQ_REMOVE_HEAD(&vm->flush_hooks, link);
    free(hook);
  }
  free(vm);
}

static void run_hook(vm_t *vm, hook_t hook) {
  if (callback_push_hook(vm->L, hook)) callback_enter(vm->L, 0);
}

void vm_run(vm_t *vm, int nargs) {
  callback_enter(vm->L, nargs);
  do {
    output_report(vm); /* a loop without work does not turn */
    vm_set_running(vm, true);
    uv_run(&vm->loop, UV_RUN_DEFAULT);
    vm_set_running(vm, false);
    output_report(vm);
    run_hook(vm, HOOK_BEFORE_EXIT);
  } while (uv_loop_alive(&vm->loop));
  run_hook(vm, HOOK_EXIT);
}

/* The module `lrun.core.vm` ------------------------------------------------------------------------------- */

/* exit(code): ends the process now. The `exit` event is process.lua's business. */
static int l_exit(lua_State *L) { vm_exit(vm_of(L), (int)luaL_checkinteger(L, 1)); }

/* flush([last]): gives the kernel what has only collected: before a call that blocks; `last` before what may end the
 * process. */
static int l_flush(lua_State *L) {
  vm_flush(vm_of(L), lua_toboolean(L, 1));
  return 0;
}

/* enter(f, ...): calls f on a coroutine of its own; an error in it goes where uncaught errors go. */
static int l_enter(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  callback_check_depth(L);
  if (lua_gettop(L) > LUAI_MAXCSTACK) return luaL_error(L, "too many arguments for a coroutine");
  callback_enter(L, lua_gettop(L) - 1);
  return 0;
}

static int l_tick(lua_State *L) {
  callback_tick(L);
  return 0;
}

/* ticks(): runs what process.nextTick holds, between the callbacks that one callback of the loop's stands for
 */
static int l_ticks(lua_State *L) {
  callback_run_ticks(L);
  return 0;
}

/* collect(): the garbage collector's work begins. */
static int l_collect(lua_State *L) {
  collector_start(L);
  return 0;
}

/* decoded(bytes): by string.buffer: see collector_decoded. */
static int l_decoded(lua_State *L) {
  collector_decoded(L, (size_t)luaL_checknumber(L, 1));
  return 0;
}

/* hook(name, f): name is "uncaught", "tick", "beforeExit", "exit", "output" or "flush". */
static int l_hook(lua_State *L) {
  static const char *const names[] = {"uncaught", "tick", "beforeExit", "exit", "output", "flush", NULL};
  int hook = luaL_checkoption(L, 1, NULL, names);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  callback_set_hook(L, (hook_t)hook);
  return 0;
}

/* What handler() returns: calls the upvalue on a coroutine of its own, because the one that failed may have no
 * stack left. */
static int on_error(lua_State *L) {
  lua_settop(L, 1);
  lua_State *co = lua_newthread(L);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 3);
  if (lua_resume(co, 2) == 0 && lua_gettop(co) > 0) lua_xmove(co, L, 1);
  else lua_pushvalue(L, 1);
  return 1;
}

/* handler(f) → a handler for xpcall: f gets the coroutine that failed, its stack intact, and the error, also one
 * of a stack that is full; what f returns is xpcall's second result, the error itself when f fails or waits.
 * A stack that overflows a second time before it was collected leaves LuaJIT no room to ask a handler: xpcall then
 * gives the bare message. */
static int l_handler(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_pushcclosure(L, on_error, 1);
  return 1;
}

/* Whether a frame is the runtime's own, or C's. */
static bool is_runtime(const lua_Debug *frame) {
  const char *name = frame->source[0] == '@' || frame->source[0] == '=' ? frame->source + 1 : frame->source;
  return frame->what[0] == 'C' || strncmp(name, "lrun:", 5) == 0 ||
         strcmp(name, "(command line bootstrap)") == 0;
}

/* place(): the nearest function of the program's own that runs, and the line; nothing where none is near. */
static int l_place(lua_State *L) {
  enum { LEVELS = 16 };
  lua_Debug frame;
  for (int level = 1; level < LEVELS && lua_getstack(L, level, &frame); level++) {
    lua_getinfo(L, "Sl", &frame);
    if (is_runtime(&frame)) continue;
    lua_getinfo(L, "f", &frame);
    lua_pushinteger(L, frame.currentline);
    return 2;
  }
  return 0;
}

int luaopen_lrun_vm(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"exit", l_exit},       {"enter", l_enter},     {"tick", l_tick}, {"ticks", l_ticks},
      {"collect", l_collect}, {"decoded", l_decoded}, {"hook", l_hook}, {"flush", l_flush},
      {"handler", l_handler}, {"place", l_place},     {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  return 1;
}
