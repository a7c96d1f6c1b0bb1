/* host/callback.c: owns the pool of coroutines on which all Lua code runs that C starts, the report of errors that
 * nobody caught, and the moment at which process.nextTick's queue runs.
 *
 * In: libuv callback → callback_enter (or luv → callback_luv) → a coroutine from the pool → lua_resume.
 * Out: it returned → back into the pool; it suspended → it belongs to whoever will resume it; it threw → the
 * hook `uncaught` gets the coroutine, its stack intact for a traceback, and the error. After the outermost
 * call the tick hook runs until no tick is left. */
#include "host/callback.h"

#include "host/hooks.h"
#include "host/modules.h"
#include "host/vm.h"
#include <assert.h>
#include <lauxlib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

/* How deep Lua may nest its calls, and how much deeper while an error is reported, which may be of that. */
enum { POOL_SIZE = 256, MAX_DEPTH = 10000, REPORT_DEPTH = 100 };

/* A coroutine that is ours; `ref` anchors it in the registry, unless it is LUA_NOREF: then whoever resumed it holds it. */
typedef struct {
  lua_State *co;
  int ref;
} entry_t;

struct callbacks {
  lua_State *L;            /* the main state */
  int depth;               /* callbacks that are running, one inside the other */
  int max_depth;           /* see callback_check_depth */
  bool ticks;              /* process.nextTick has work */
  callback_end_t *ends;    /* callback_at_end */
  volatile uint64_t *turn; /* when the loop's turn began, 0 before its first callback; NULL: nobody asks */
  entry_t begun;           /* between callback_begin and callback_run */
  lua_State *running;      /* the coroutine of the innermost call */
  lua_State *parked;       /* see callback_parks */
  uintptr_t frame;         /* of C's stack, that the innermost coroutine was resumed from; 0: none runs */
  uintptr_t reach;         /* see callback_can_wait; 0: not known yet */
  int hooks[HOOK_COUNT];   /* registry refs of Lua functions */
  int pooled;              /* entries in pool */
  entry_t pool[POOL_SIZE]; /* coroutines at rest */
};

/* Bytes of C's stack that compiled code may take below the frame of the interpreter that it runs in. A function of C's that
 * calls Lua takes more than that: it leaves the interpreter's registers there, a frame of the interpreter's, and its own. */
enum { SPILL = 96 };

/* Those of the state that was asked for last: a process has one, as a rule. */
static struct {
  const lua_State *L; /* the main one */
  const void *registry;
  callbacks_t *callbacks;
} latest;

static callbacks_t *callbacks_of(lua_State *L) {
  if (L == latest.L) return latest.callbacks;
  const void *registry = lua_topointer(L, LUA_REGISTRYINDEX);
  if (registry == latest.registry) return latest.callbacks;
  lua_rawgeti(L, LUA_REGISTRYINDEX, SLOT_CALLBACKS);
  callbacks_t *callbacks = lua_touserdata(L, -1);
  lua_pop(L, 1);
  latest.L = callbacks->L;
  latest.registry = registry;
  latest.callbacks = callbacks;
  return callbacks;
}

void callback_init(lua_State *L) {
  callbacks_t *callbacks = lua_newuserdata(L, sizeof *callbacks);
  *callbacks = (callbacks_t){.L = L, .max_depth = MAX_DEPTH};
  for (int i = 0; i < HOOK_COUNT; i++) callbacks->hooks[i] = LUA_NOREF;
  lua_rawseti(L, LUA_REGISTRYINDEX, SLOT_CALLBACKS);
  lua_createtable(L, 0, 4);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawseti(L, LUA_REGISTRYINDEX, SLOT_MADE);
  latest.L = NULL;
  latest.registry = NULL; /* this one's may lie where that of a closed state lay */
}

void callback_set_hook(lua_State *L, hook_t hook) {
  callbacks_t *callbacks = callbacks_of(L);
  luaL_unref(L, LUA_REGISTRYINDEX, callbacks->hooks[hook]);
  callbacks->hooks[hook] = luaL_ref(L, LUA_REGISTRYINDEX);
}

void callback_watch_turns(lua_State *L, volatile uint64_t *started) { callbacks_of(L)->turn = started; }

bool callback_push_hook(lua_State *L, hook_t hook) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, callbacks_of(L)->hooks[hook]);
  if (lua_isfunction(L, -1)) return true;
  lua_pop(L, 1);
  return false;
}

static entry_t entry_take(callbacks_t *callbacks) {
  if (callbacks->pooled > 0) return callbacks->pool[--callbacks->pooled];
  lua_State *L = callbacks->L;
  entry_t entry;
  entry.co = lua_newthread(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, SLOT_MADE);
  lua_pushvalue(L, -2);
  lua_pushboolean(L, 1);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  entry.ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return entry;
}

static void entry_drop(callbacks_t *callbacks, entry_t entry) {
  luaL_unref(callbacks->L, LUA_REGISTRYINDEX, entry.ref);
}

/* Those of this file are in a table with weak keys. A coroutine that waited and has ended may be the program's own: that one
 * stays dead. */
static bool was_made_here(lua_State *co) {
  lua_rawgeti(co, LUA_REGISTRYINDEX, SLOT_MADE);
  lua_pushthread(co);
  lua_rawget(co, -2);
  bool made = lua_toboolean(co, -1);
  lua_pop(co, 2);
  return made;
}

static void entry_rest(callbacks_t *callbacks, entry_t entry) {
  if (lua_gettop(entry.co) > 0) lua_settop(entry.co, 0);
  if (entry.ref == LUA_NOREF && !was_made_here(entry.co)) return;
  if (callbacks->pooled == POOL_SIZE) {
    entry_drop(callbacks, entry);
    return;
  }
  if (entry.ref == LUA_NOREF) {
    lua_pushthread(entry.co);
    entry.ref = luaL_ref(entry.co, LUA_REGISTRYINDEX);
  }
  callbacks->pool[callbacks->pooled++] = entry;
}

/* Ends the process with the error on top of L. */
static _Noreturn void die(lua_State *L) {
  const char *message = lua_tostring(L, -1);
  fprintf(stderr, "lrun: %s\n", message ? message : "an error object was thrown while an error was reported");
  vm_exit(vm_of(L), 1);
}

/* The error is on top of `failed`. The hook runs on a coroutine of its own; if it fails too, or is not there
 * yet, only a message is left to print. */
static void report(callbacks_t *callbacks, lua_State *failed) {
  lua_State *L = callbacks->L;
  if (!callback_push_hook(L, HOOK_UNCAUGHT)) die(failed);
  entry_t entry = entry_take(callbacks);
  lua_State *co = entry.co;
  lua_xmove(L, co, 1);
  lua_pushthread(failed);
  lua_xmove(failed, co, 1);
  lua_pushvalue(failed, -1);
  lua_xmove(failed, co, 1);
  callbacks->max_depth += REPORT_DEPTH;
  int status = lua_resume(co, 2);
  callbacks->max_depth -= REPORT_DEPTH;
  if (status == 0) {
    entry_rest(callbacks, entry);
  } else if (status == LUA_YIELD) {
    lua_settop(co, 0);
    entry_drop(callbacks, entry);
  } else {
    die(co);
  }
}

/* Its frame is always as far above that of the interpreter which runs the coroutine. */
static __attribute__((noinline)) int resume(callbacks_t *callbacks, lua_State *co, int nargs) {
  lua_State *outer = callbacks->running;
  uintptr_t outer_frame = callbacks->frame;
  callbacks->running = co;
  callbacks->frame = (uintptr_t)__builtin_frame_address(0);
  int status = lua_resume(co, nargs);
  callbacks->frame = outer_frame;
  callbacks->running = outer;
  return status;
}

static int settle(callbacks_t *callbacks, entry_t entry, int status) {
  if (status == 0) {
    entry_rest(callbacks, entry);
    return CALLBACK_DONE;
  }
  if (status == LUA_YIELD) {
    bool lost = lua_gettop(entry.co) > 0 && callbacks->parked != entry.co;
    callbacks->parked = NULL;
    lua_settop(entry.co, 0);
    entry_drop(callbacks, entry);
    return lost ? CALLBACK_YIELDED : CALLBACK_SUSPENDED;
  }
  report(callbacks, entry.co);
  entry_drop(callbacks, entry);
  return CALLBACK_FAILED;
}

/* The hook calls ticks itself. One that waits takes the coroutine with it, and one that throws ends it: the others are
 * called on another one. */
static void run_ticks(callbacks_t *callbacks) {
  while (callbacks->ticks) {
    callbacks->ticks = false;
    if (!callback_push_hook(callbacks->L, HOOK_TICK)) return;
    entry_t entry = entry_take(callbacks);
    lua_xmove(callbacks->L, entry.co, 1);
    callbacks->depth++;
    if (settle(callbacks, entry, resume(callbacks, entry.co, 0)) != CALLBACK_DONE) callbacks->ticks = true;
    callbacks->depth--;
  }
}

void callback_run_ticks(lua_State *L) { run_ticks(callbacks_of(L)); }

/* Ticks first; what the ends do may make new ones. */
static void work_off(callbacks_t *callbacks) {
  for (;;) {
    run_ticks(callbacks);
    callback_end_t *end = callbacks->ends;
    if (end == NULL) return;
    callbacks->ends = end->next;
    callbacks->depth++;
    end->run(end);
    callbacks->depth--;
  }
}

/* The turn ends with the outermost call. */
static void end_turn(callbacks_t *callbacks) {
  if (callbacks->depth == 0 && (callbacks->ticks || callbacks->ends != NULL)) work_off(callbacks);
}

static int run(callbacks_t *callbacks, entry_t entry, int nargs) {
  if (callbacks->turn && *callbacks->turn == 0) *callbacks->turn = uv_hrtime();
  callbacks->depth++;
  int outcome = settle(callbacks, entry, resume(callbacks, entry.co, nargs));
  callbacks->depth--;
  end_turn(callbacks);
  return outcome;
}

int callback_enter(lua_State *L, int nargs) {
  callbacks_t *callbacks = callbacks_of(L);
  entry_t entry = entry_take(callbacks);
  luaL_checkstack(entry.co, nargs + 1, "callback");
  lua_xmove(L, entry.co, nargs + 1);
  return run(callbacks, entry, nargs);
}

lua_State *callback_begin_by(callbacks_t *callbacks) {
  assert(callbacks->begun.co == NULL);
  callbacks->begun = entry_take(callbacks);
  return callbacks->begun.co;
}

int callback_run_by(callbacks_t *callbacks, int nargs) {
  entry_t entry = callbacks->begun;
  assert(entry.co != NULL);
  callbacks->begun.co = NULL;
  return run(callbacks, entry, nargs);
}

lua_State *callback_begin(lua_State *L) { return callback_begin_by(callbacks_of(L)); }

int callback_run(lua_State *co, int nargs) {
  callbacks_t *callbacks = callbacks_of(co);
  assert(callbacks->begun.co == co);
  return callback_run_by(callbacks, nargs);
}

int callback_resume(lua_State *co, int nargs) {
  callbacks_t *callbacks = callbacks_of(co);
  return run(callbacks, (entry_t){.co = co, .ref = LUA_NOREF}, nargs);
}

void callback_parks(lua_State *L) { callbacks_of(L)->parked = L; }
bool callback_runs(lua_State *L) { return callbacks_of(L)->running == L; }

/* The coroutine that the host resumed can wait, and nothing but the interpreter lies between its frame and the caller's. */
bool callback_can_wait(lua_State *L, const void *frame) {
  if (!lua_isyieldable(L)) return false;
  callbacks_t *callbacks = callbacks_of(L);
  if (callbacks->running == L) callbacks->reach = callbacks->frame - (uintptr_t)frame;
  return true;
}

/* Nothing else either, so it is that coroutine. Without a frame the difference is larger than any. */
bool callback_surely_can_wait(const callbacks_t *callbacks, const void *frame) {
  return callbacks->reach != 0 && callbacks->frame - (uintptr_t)frame <= callbacks->reach + SPILL;
}

int callback_leave(lua_State *L) {
  callbacks_t *callbacks = callbacks_of(L);
  int depth = callbacks->depth;
  callbacks->depth = 0;
  callbacks->ticks = true; /* a tick that leaves may have others behind it */
  run_ticks(callbacks);
  return depth;
}

void callback_return(lua_State *L, int depth) { callbacks_of(L)->depth = depth; }

void callback_check_depth(lua_State *L) {
  const callbacks_t *callbacks = callbacks_of(L);
  if (callbacks->depth < callbacks->max_depth) return;
  lua_pushliteral(L, "stack overflow: too many coroutines run one inside the other");
  lua_error(L);
}

void callback_tick(lua_State *L) { callbacks_of(L)->ticks = true; }

void callback_at_end(lua_State *L, callback_end_t *end) {
  callbacks_t *callbacks = callbacks_of(L);
  end->next = callbacks->ends;
  callbacks->ends = end;
}

void callback_end_turn(lua_State *L) { end_turn(callbacks_of(L)); }

void callback_open_turn(lua_State *L) { callbacks_of(L)->depth++; }

void callback_close_turn(lua_State *L) {
  callbacks_of(L)->depth--;
  callback_end_turn(L);
}

callbacks_t *callback_state(lua_State *L) { return callbacks_of(L); }
bool callback_has_ticks(const callbacks_t *callbacks) { return callbacks->ticks; }

int callback_luv(lua_State *L, int nargs, int nresults, int flags) {
  (void)flags;
  if (nresults == 0) return callback_enter(L, nargs) == CALLBACK_FAILED ? LUA_ERRRUN : 0;
  return lua_pcall(L, nargs, nresults, 0);
}
