/* handoff/hub.h: what handoff/module.c may see of handoff/hub.c. */
#ifndef LRUN_HANDOFF_HUB_H
#define LRUN_HANDOFF_HUB_H

#include <stdbool.h>

#include "handoff/handoff.h"
#include "host/vm.h"

struct hub {
  vm_t *vm;
  conn_queue_t waiting;
  lane_t *marked;        /* lanes with something to send */
  acceptor_t *acceptors; /* those that are open */
  int callback;          /* registry ref: Lua's function that names lanes while something waits */
  int reserve;           /* a descriptor to give up when there are no others */
  bool dispatching;
};

/* The hub lasts as long as the VM. `callback` is a registry ref. */
int hub_open(lua_State *L, int callback, hub_t **out);
void hub_flush(hub_t *hub);

#endif
