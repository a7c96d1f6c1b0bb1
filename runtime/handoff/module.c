/* handoff/module.c: the module `lrun.core.handoff`: what lrun/cluster/primary.lua sees of hub, acceptors and lanes.
 *
 * The hub calls Lua while connections wait; Lua then takes them one by one: hub:next() says whose the first
 * one is, hub:assign(lane) or hub:drop() says where it goes. Each userdata holds one pointer, null after
 * close. */
#include "handoff/handoff.h"

#include <arpa/inet.h>
#include <lauxlib.h>
#include <sys/socket.h>

#include "host/errors.h"
#include "host/userdata.h"

static const char HUB[] = "lrun.handoff.hub";
static const char LANE[] = "lrun.handoff.lane";
static const char ACCEPTOR[] = "lrun.handoff.acceptor";

static void **box_new(lua_State *L, const char *type) {
  void **box = lua_newuserdata(L, sizeof *box);
  *box = NULL;
  luaL_getmetatable(L, type);
  lua_setmetatable(L, -2);
  return box;
}

static hub_t *hub_check(lua_State *L) { return *(hub_t **)luaL_checkudata(L, 1, HUB); }

/* hub(callback): the one hub of this process. */
static int l_hub(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  void **box = box_new(L, HUB);
  lua_pushvalue(L, 1);
  hub_t *hub;
  int rc = hub_open(L, luaL_ref(L, LUA_REGISTRYINDEX), &hub);
  if (rc < 0) return errors_result(L, rc, "open");
  *box = hub;
  lua_pushvalue(L, -1);
  luaL_ref(L, LUA_REGISTRYINDEX); /* lanes and acceptors point to it as long as the loop runs */
  return 1;
}

/* hub:next() → the id of the acceptor that the first waiting connection came to, or nothing. */
static int l_hub_next(lua_State *L) {
  const hub_t *hub = hub_check(L);
  if (hub->waiting.count == 0) return 0;
  lua_pushinteger(L, (lua_Integer)conn_queue_at(&hub->waiting, 0)->from->id);
  return 1;
}

/* hub:assign(lane) → whether the lane took the first waiting connection: a closed one does not. */
static int l_hub_assign(lua_State *L) {
  hub_t *hub = hub_check(L);
  lane_t *lane = *(lane_t **)luaL_checkudata(L, 2, LANE);
  bool taken = hub->waiting.count > 0 && lane && lane_push(lane, *conn_queue_at(&hub->waiting, 0)) == 0;
  if (taken) conn_queue_shift(&hub->waiting);
  lua_pushboolean(L, taken);
  return 1;
}

/* hub:drop(): closes the first waiting connection. */
static int l_hub_drop(lua_State *L) {
  hub_t *hub = hub_check(L);
  if (hub->waiting.count > 0) conn_done(conn_queue_shift(&hub->waiting));
  return 0;
}

/* hub:park(): keeps the first waiting connection until its acceptor resumes. */
static int l_hub_park(lua_State *L) {
  hub_t *hub = hub_check(L);
  if (hub->waiting.count > 0) acceptor_park(conn_queue_shift(&hub->waiting));
  return 0;
}

/* hub:flush() → whether something waits again: a lane turned out to be dead. */
static int l_hub_flush(lua_State *L) {
  hub_t *hub = hub_check(L);
  hub_flush(hub);
  lua_pushboolean(L, hub->waiting.count > 0);
  return 1;
}

static int push_address(lua_State *L, const struct sockaddr_storage *address) {
  char text[INET6_ADDRSTRLEN];
  int port = 0;
  if (address->ss_family == AF_INET) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
    port = ntohs(v4->sin_port);
  } else if (address->ss_family == AF_INET6) {
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
    inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
    port = ntohs(v6->sin6_port);
  } else {
    lua_pushnil(L);
    lua_pushnil(L);
    return 2;
  }
  lua_pushstring(L, text);
  lua_pushinteger(L, port);
  return 2;
}

/* hub:peer() → remote address, remote port, local address, local port of the first waiting connection; nils
 * for a unix socket, or one whose peer is gone. */
static int l_hub_peer(lua_State *L) {
  const hub_t *hub = hub_check(L);
  if (hub->waiting.count == 0) return 0;
  int fd = conn_queue_at(&hub->waiting, 0)->fd;
  struct sockaddr_storage address = {0};
  socklen_t length = sizeof address;
  if (getpeername(fd, (struct sockaddr *)&address, &length) != 0) address.ss_family = AF_UNSPEC;
  int pushed = push_address(L, &address);
  address = (struct sockaddr_storage){0};
  length = sizeof address;
  if (getsockname(fd, (struct sockaddr *)&address, &length) != 0) address.ss_family = AF_UNSPEC;
  return pushed + push_address(L, &address);
}

/* hub:acceptor(fd, id, backlog) → the acceptor, which listens and will accept after resume(), or nil and the
 * error. The descriptor stays the caller's. */
static int l_hub_acceptor(lua_State *L) {
  hub_t *hub = hub_check(L);
  int fd = luaL_checkint(L, 2);
  uint32_t id = (uint32_t)luaL_checkinteger(L, 3);
  int backlog = luaL_checkint(L, 4);
  void **box = box_new(L, ACCEPTOR);
  acceptor_t *acceptor;
  int rc = acceptor_open(hub, fd, id, backlog, &acceptor);
  if (rc < 0) return errors_result(L, rc, "listen");
  *box = acceptor;
  return 1;
}

/* acceptor:resume(): accepts, and what was parked waits in the hub again. */
static int l_acceptor_resume(lua_State *L) {
  acceptor_t *acceptor = *(acceptor_t **)luaL_checkudata(L, 1, ACCEPTOR);
  return errors_result(L, acceptor ? acceptor_resume(acceptor) : UV_EBADF, "poll");
}

static int l_acceptor_pause(lua_State *L) {
  acceptor_t *acceptor = *(acceptor_t **)luaL_checkudata(L, 1, ACCEPTOR);
  if (acceptor) acceptor_pause(acceptor);
  return 0;
}

/* acceptor:sweep(): accepts all that is pending, and has it assigned, while it runs. */
static int l_acceptor_sweep(lua_State *L) {
  acceptor_t *acceptor = *(acceptor_t **)luaL_checkudata(L, 1, ACCEPTOR);
  if (acceptor) acceptor_sweep(acceptor);
  return 0;
}

static int l_acceptor_close(lua_State *L) {
  void **box = luaL_checkudata(L, 1, ACCEPTOR);
  if (*box) acceptor_close(*box);
  *box = NULL;
  return 0;
}

/* hub:lane() → the lane, and the descriptor of the worker's end, of which the worker is to get a copy; or nil
 * and the error. */
static int l_hub_lane(lua_State *L) {
  hub_t *hub = hub_check(L);
  void **box = box_new(L, LANE);
  lane_t *lane;
  const char *syscall;
  int rc = lane_open(hub, &lane, &syscall);
  if (rc < 0) return errors_result(L, rc, syscall);
  *box = lane;
  lua_pushinteger(L, lane->peer);
  return 2;
}

static lane_t *lane_check(lua_State *L) { return *(lane_t **)luaL_checkudata(L, 1, LANE); }

/* lane:close(): the worker has ended. What it has not taken waits for another lane again. */
static int l_lane_close(lua_State *L) {
  lane_t *lane = lane_check(L);
  if (lane) lane_close(lane);
  return 0;
}

static int l_lane_gc(lua_State *L) {
  void **box = luaL_checkudata(L, 1, LANE);
  if (*box) lane_release(*box);
  *box = NULL;
  return 0;
}

/* How long the turn has lasted that the worker's loop is in. */
static double busy_ms(const stats_t *stats) {
  uint64_t started = stats->turn_started, now = started ? uv_hrtime() : 0;
  return now > started ? (double)(now - started) / 1e6 : 0;
}

/* lane:load() → connections on their way, open connections (those included), ms for which the worker's loop
 * has been busy with the turn that it is in, ms for which it has taken none of those on their way; nothing
 * when the lane is closed. */
static int l_lane_load(lua_State *L) {
  lane_t *lane = lane_check(L);
  if (!lane || lane->broken) return 0;
  lane_load_t load = lane_load(lane);
  const stats_t *stats = lane->stats;
  uint64_t ended = stats->closed, all = load.taken + load.untaken;
  lua_pushinteger(L, (lua_Integer)load.untaken);
  lua_pushinteger(L, (lua_Integer)(all > ended ? all - ended : 0));
  lua_pushnumber(L, busy_ms(stats));
  lua_pushinteger(L, (lua_Integer)load.waited);
  return 4;
}

static void set_count(lua_State *L, const char *name, uint64_t value) {
  lua_pushnumber(L, (double)value);
  lua_setfield(L, -2, name);
}

/* lane:counts() → what the worker counts on its page, and what the lane knows. Starts a new `longestTurn`
 * (ms). */
static int l_lane_counts(lua_State *L) {
  lane_t *lane = lane_check(L);
  if (!lane) return 0;
  lane_load_t load = lane_load(lane);
  stats_t *stats = lane->stats;
  uint64_t started = stats->turn_started, now = uv_hrtime();
  uint64_t turn = started && now > started ? now - started : 0;
  if (stats->longest_turn > turn) turn = stats->longest_turn;
  stats->longest_turn = 0;
  lua_newtable(L);
  set_count(L, "opened", stats->opened);
  set_count(L, "closed", stats->closed);
  set_count(L, "requests", stats->requests);
  set_count(L, "taken", load.taken);
  set_count(L, "untaken", load.untaken);
  set_count(L, "refused", lane->refused);
  lua_pushnumber(L, (double)turn / 1e6);
  lua_setfield(L, -2, "longestTurn");
  set_count(L, "waited", load.waited);
  return 1;
}

int luaopen_lrun_handoff(lua_State *L) {
  static const luaL_Reg hub[] = {{"next", l_hub_next}, {"assign", l_hub_assign},     {"drop", l_hub_drop},
                                 {"park", l_hub_park}, {"flush", l_hub_flush},       {"peer", l_hub_peer},
                                 {"lane", l_hub_lane}, {"acceptor", l_hub_acceptor}, {NULL, NULL}};
  static const luaL_Reg lane[] = {{"close", l_lane_close},
                                  {"load", l_lane_load},
                                  {"counts", l_lane_counts},
                                  {"__gc", l_lane_gc},
                                  {NULL, NULL}};
  static const luaL_Reg acceptor[] = {{"resume", l_acceptor_resume}, {"pause", l_acceptor_pause},
                                      {"sweep", l_acceptor_sweep},   {"close", l_acceptor_close},
                                      {"__gc", l_acceptor_close},    {NULL, NULL}};
  static const luaL_Reg functions[] = {{"hub", l_hub}, {NULL, NULL}};
  userdata_class(L, HUB, hub);
  userdata_class(L, LANE, lane);
  userdata_class(L, ACCEPTOR, acceptor);
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  handoff_worker_register(L);
  return 1;
}
