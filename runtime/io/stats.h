/* io/stats.h: counters of a process, on a page that a cluster's primary can map too: it reads them without
 * asking. */
#ifndef LRUN_IO_STATS_H
#define LRUN_IO_STATS_H

#include <lua.h>
#include <stdint.h>
#include <uv.h>

/* Written by one process but for what it says, read by another: whole words, no locks. */
typedef struct {
  volatile uint64_t turn_started; /* ns (uv_hrtime); 0 while no callback runs */
  volatile uint64_t longest_turn; /* ns; the reader sets it back to 0 */
  volatile uint64_t sent;    /* connections that the primary has sent over the lane, as the reader says */
  volatile uint64_t handed;  /* connections of the lane that Lua was entered with, refused ones too */
  volatile uint64_t refused; /* those of the lane's current message that have no server here, a bit each */
  volatile uint64_t opened;  /* connections that servers of this process got */
  volatile uint64_t closed;
  volatile uint64_t requests;
} stats_t;

/* The page of this VM, always at the same address; made at the first call. NULL without memory. */
stats_t *stats_of(lua_State *L);

/* Moves the page of this VM onto the shared memory `fd`, what was counted included. */
int stats_share(lua_State *L, int fd);

/* Starts to measure the turns of the loop. Keeps no process alive. */
int stats_watch(lua_State *L, uv_loop_t *loop);

/* The primary's side: shared memory and its mapping. 0 or UV_E*, and which system call said so. */
int stats_create(int *fd, stats_t **out, const char **syscall);
void stats_unmap(stats_t *stats);

#endif
