/* handoff/hub.c: the accepted connections that wait for a lane.
 * acceptor -> hub_put -> [waiting] -> Lua names a lane for the first, again and again -> lane_push ->
 * lane_flush. What comes back from a lane takes the same way once more (hub_put_back). */
#include "handoff/hub.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/callback.h"
#include "host/vm.h"

int hub_open(lua_State *L, int callback, hub_t **out) {
  hub_t *hub = calloc(1, sizeof *hub);
  if (!hub) return UV_ENOMEM;
  hub->vm = vm_of(L);
  hub->callback = callback;
  hub->reserve = -1;
  hub_refill_reserve(hub);
  *out = hub;
  return 0;
}

uv_loop_t *hub_loop(const hub_t *hub) { return vm_loop(hub->vm); }

int hub_take_reserve(hub_t *hub) {
  int fd = hub->reserve;
  hub->reserve = -1;
  return fd;
}

void hub_refill_reserve(hub_t *hub) {
  if (hub->reserve < 0) hub->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void hub_put(hub_t *hub, conn_t conn) {
  if (conn_queue_push(&hub->waiting, conn) < 0) conn_done(conn);
}

void hub_join(hub_t *hub, acceptor_t *acceptor) {
  *acceptor_next(acceptor) = hub->acceptors;
  hub->acceptors = acceptor;
}

void hub_leave(hub_t *hub, acceptor_t *acceptor) {
  acceptor_t **at = &hub->acceptors;
  while (*at != acceptor) at = acceptor_next(*at);
  *at = *acceptor_next(acceptor);
}

void hub_put_back(hub_t *hub, int fd, uint32_t acceptor) {
  acceptor_t *from = hub->acceptors;
  while (from && acceptor_id(from) != acceptor) from = *acceptor_next(from);
  if (!from) {
    close(fd);
    return;
  }
  acceptor_conn_waits(from);
  hub_put(hub, (conn_t){.fd = fd, .from = from});
}

void hub_mark(hub_t *hub, lane_t *lane) {
  lane_link_t *link = lane_link(lane);
  if (link->marked) return;
  *link = (lane_link_t){.next = hub->marked, .marked = 1};
  hub->marked = lane;
}

void hub_unmark(hub_t *hub, lane_t *lane) {
  if (!lane_link(lane)->marked) return;
  lane_t **at = &hub->marked;
  while (*at != lane) at = &lane_link(*at)->next;
  *at = lane_link(lane)->next;
  lane_link(lane)->marked = 0;
}

void hub_flush(hub_t *hub) {
  while (hub->marked) {
    lane_t *lane = hub->marked;
    hub_unmark(hub, lane);
    lane_flush(lane);
  }
}

void hub_dispatch(hub_t *hub) {
  if (hub->dispatching) return; /* the call further up goes on */
  hub->dispatching = true;
  lua_State *L = vm_state(hub->vm);
  while (hub->waiting.count > 0) {
    uint32_t before = hub->waiting.count;
    lua_rawgeti(L, LUA_REGISTRYINDEX, hub->callback);
    callback_enter(L, 0);
    if (hub->waiting.count >= before)
      conn_done(conn_queue_shift(&hub->waiting)); /* it failed: go on without */
    hub_flush(hub);
  }
  hub_flush(hub);
  hub->dispatching = false;
}
