/* handoff/hub.c: the accepted connections that wait for a lane.
 * acceptor -> hub_put -> [waiting] -> Lua names a lane for the first, again and again -> lane_push ->
 * lane_flush. What comes back from a lane takes the same way once more (hub_put_back). */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <unistd.h>

#include "handoff/handoff.h"
#include "host/callback.h"

int hub_open(lua_State *L, int callback, hub_t **out) {
  hub_t *hub = calloc(1, sizeof *hub);
  if (!hub) return UV_ENOMEM;
  hub->vm = vm_of(L);
  hub->loop = vm_loop(hub->vm);
  TAILQ_INIT(&hub->marked);
  LIST_INIT(&hub->acceptors);
  hub->callback = callback;
  hub->reserve = -1;
  hub_refill_reserve(hub);
  *out = hub;
  return 0;
}

void hub_refill_reserve(hub_t *hub) {
  if (hub->reserve < 0) hub->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void hub_put(hub_t *hub, conn_t conn) {
  if (conn_queue_push(&hub->waiting, conn) < 0) conn_done(conn);
}

void hub_put_back(hub_t *hub, int fd, uint32_t acceptor) {
  acceptor_t *from;
  LIST_FOREACH(from, &hub->acceptors, link) if (from->id == acceptor) break;
  if (!from) {
    close(fd);
    return;
  }
  from->waiting++;
  hub_put(hub, (conn_t){.fd = fd, .from = from});
}

void hub_mark(hub_t *hub, lane_t *lane) {
  if (lane->marked) return;
  lane->marked = true;
  TAILQ_INSERT_TAIL(&hub->marked, lane, link);
}

void hub_unmark(hub_t *hub, lane_t *lane) {
  if (!lane->marked) return;
  lane->marked = false;
  TAILQ_REMOVE(&hub->marked, lane, link);
}

void hub_flush(hub_t *hub) {
  lane_t *lane;
  while ((lane = TAILQ_FIRST(&hub->marked))) {
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
