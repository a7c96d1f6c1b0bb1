/* host/collector.c: owns the pace of LuaJIT's garbage collector.
 *
 * LuaJIT starts a collection when the heap has doubled. A small program's heap doubles after a few thousand
 * requests or messages, and each collection marks all of it anew, so ours also waits until SLACK has
 * gathered. A sentinel, unreachable from its birth, is finalized at the end of each collection, when the size
 * of what lives is known and the next threshold is about to be computed from the pause; there it sets the
 * pause and leaves another sentinel. A program that sets a pause itself keeps it. Who gives much up at once
 * has a collection begin sooner (collector_hurry). */
#include "host/collector.h"

#include "host/hooks.h"

#include <lauxlib.h>

enum {
  SLACK_KB = 1024,    /* an idle worker's memory grows by as much while it works */
  PAUSE_DOUBLE = 200, /* LuaJIT's own: per cent of what lives */
  STEP = 1024,        /* LuaJIT's own: bytes allocated for each step */
  HURRY_PART = 4,     /* a collection begins when the heap has grown by this part */
  HURRY_STEPS = 16,   /* of a collection, taken at once */
  HEAP_A_BYTE = 4     /* about as much of the heap is allocated for a byte that is decoded */
};

static const char *const metatable = "lrun.collector";

static int pause_for(int living_kb) {
  if (living_kb >= SLACK_KB) return PAUSE_DOUBLE;
  return 100 + 100 * SLACK_KB / (living_kb > 0 ? living_kb : 1);
}

/* What the last collection has left, or what there was at the start; a number in the registry. */
static void set_living(lua_State *L, int kb) {
  lua_pushinteger(L, kb);
  lua_rawseti(L, LUA_REGISTRYINDEX, SLOT_LIVING);
}

static int living(lua_State *L) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, SLOT_LIVING);
  int kb = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return kb;
}

/* The sentinel holds the pause that was set when it was made. */
static void leave_sentinel(lua_State *L, int pause) {
  int *sentinel = lua_newuserdata(L, sizeof *sentinel);
  *sentinel = pause;
  luaL_getmetatable(L, metatable);
  lua_setmetatable(L, -2);
  lua_pop(L, 1);
}

static int on_collected(lua_State *L) {
  const int *sentinel = luaL_checkudata(L, 1, metatable);
  int left = lua_gc(L, LUA_GCCOUNT, 0), pause = pause_for(left);
  set_living(L, left);
  int before = lua_gc(L, LUA_GCSETPAUSE, pause);
  if (before == *sentinel) leave_sentinel(L, pause);
  else lua_gc(L, LUA_GCSETPAUSE, before);
  return 0;
}

void collector_stop(lua_State *L) {
  set_living(L, 0);
  lua_gc(L, LUA_GCSTOP, 0);
}

void collector_start(lua_State *L) {
  int there = lua_gc(L, LUA_GCCOUNT, 0), pause = pause_for(there);
  set_living(L, there);
  luaL_newmetatable(L, metatable);
  lua_pushcfunction(L, on_collected);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  lua_gc(L, LUA_GCSETPAUSE, pause);
  leave_sentinel(L, pause);
  lua_gc(L, LUA_GCRESTART, -1); /* -1: the first collection waits for the pause as well */
}

/* Whatever makes a string lets the collector take a step where one is due. */
void collector_decoded(lua_State *L, size_t bytes) {
  for (size_t steps = bytes * HEAP_A_BYTE / STEP; steps > 0; steps--) {
    lua_pushliteral(L, "");
    lua_pop(L, 1);
  }
}

void collector_hurry(lua_State *L) {
  int kb = living(L);
  if (!lua_gc(L, LUA_GCISRUNNING, 0)) return; /* the program has stopped it: a step would start it */
  if (lua_gc(L, LUA_GCCOUNT, 0) - kb > kb / HURRY_PART) lua_gc(L, LUA_GCSTEP, HURRY_STEPS);
}
