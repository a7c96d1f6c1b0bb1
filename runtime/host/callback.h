/* host/callback.h: the one door from C into Lua. */
#ifndef LRUN_HOST_CALLBACK_H
#define LRUN_HOST_CALLBACK_H

#include <lua.h>
#include <stdbool.h>

/* What became of a call through the door. */
enum {
  CALLBACK_DONE = 0,      /* the function returned; its results are dropped */
  CALLBACK_SUSPENDED = 1, /* it waits (`await`); whoever resumes it goes on through callback_resume */
  CALLBACK_YIELDED = 2,   /* it yielded values, but there is nobody to take them */
  CALLBACK_FAILED = -1    /* it threw; the error was reported and the process goes on */
};

/* Calls the function below its `nargs` (less than LUAI_MAXCSTACK) arguments on top of L, on a coroutine of
 * its own, and pops all of them. Never throws. Whatever the caller holds may have been closed meanwhile: look
 * again. */
int callback_enter(lua_State *L, int nargs);

/* The same without a copy, for hot paths: push the function and its arguments on the coroutine that
 * callback_begin returns (its stack is empty, with room for 20 values), then callback_run it. Between the two
 * no other Lua may run. */
lua_State *callback_begin(lua_State *L);
int callback_run(lua_State *co, int nargs);

/* The same for who keeps callback_state, of which these need no look into the registry. */
typedef struct callbacks callbacks_t;
callbacks_t *callback_state(lua_State *L);
lua_State *callback_begin_by(callbacks_t *callbacks);
int callback_run_by(callbacks_t *callbacks, int nargs);

/* Continues a suspended coroutine, which the caller keeps from being collected; the `nargs` values on top of `co` are what
 * its yield returns. */
int callback_resume(lua_State *co, int nargs);

/* The coroutine that runs is about to yield because it waits: what it yields, if anything, is not lost. */
void callback_parks(lua_State *L);

/* Whether L is the coroutine that the host called last, and not one that the program made and resumed. */
bool callback_runs(lua_State *L);

/* Whether the coroutine that runs can wait: not inside a function of C's that called Lua. `frame` is that of the function
 * of C's that Lua called. */
bool callback_can_wait(lua_State *L, const void *frame);

/* The same without a Lua state, for a function that compiled code calls: true where it is certain. It is where the host's
 * own coroutine runs, and callback_can_wait has been asked before. It tells by the depth of C's stack: Lua runs in one
 * frame of C's as long as no function of C's calls it. */
bool callback_surely_can_wait(const callbacks_t *callbacks, const void *frame);

/* For calls that Lua makes: throws where so many run one inside the other that C's stack would end. */
void callback_check_depth(lua_State *L);

/* For Lua code outside of the loop that runs it itself: `leave` before and `return` afterwards, so that what
 * runs meanwhile is not taken for a part of it. Ticks run in between as they do in the host's own loop. */
int callback_leave(lua_State *L);
void callback_return(lua_State *L, int depth);

/* Says that process.nextTick has work: it runs before the loop gets control back. */
void callback_tick(lua_State *L);

/* Runs that work now: for one callback of the loop's that stands for several, between them. */
void callback_run_ticks(lua_State *L);

/* Work for the end of this turn: `run` is called once, after the ticks, before the loop gets control back. It
 * may enter Lua and ask again. The memory is the caller's, and is not looked at any more when `run` is
 * called. */
typedef struct callback_end callback_end_t;
struct callback_end {
  void (*run)(callback_end_t *end);
  callback_end_t *next;
};
void callback_at_end(lua_State *L, callback_end_t *end);

/* Between the two no turn ends, and no ticks run but those that Lua asks for: for what calls Lua several times in one. */
void callback_open_turn(lua_State *L);
void callback_close_turn(lua_State *L);

/* Ends the turn, where no Lua runs: for C that has called others by itself, and what they did may have work for the end. */
void callback_end_turn(lua_State *L);

/* Whether nextTick has work, in a form that costs nothing to ask often. */
bool callback_has_ticks(const callbacks_t *callbacks);

/* luv's callbacks pass through the same door (luv_set_callback). */
int callback_luv(lua_State *L, int nargs, int nresults, int flags);

#endif
