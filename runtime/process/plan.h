/* process/plan.h: the plan of a child: a table that lualib/lrun/child/plan.lua has made and checked → what launch takes. */
#ifndef LRUN_PROCESS_PLAN_H
#define LRUN_PROCESS_PLAN_H

#include "process/launch.h"
#include <lua.h>

enum { PLAN_IGNORE = -1, PLAN_PIPE = -2 }; /* in a slot instead of a descriptor */

enum { PLAN_MAX_SLOTS = 4096 };

/* The table's fields:
 *   file   string                    args    sequence of strings, the first one argv[0]
 *   env    sequence of "NAME=value", or nil to inherit
 *   cwd    string?                   uid, gid, umask, nice, deathSignal   number?
 *   stdio  sequence of slots: a descriptor to lend, PLAN_IGNORE, or PLAN_PIPE      detached   boolean?
 *   groups sequence of ids and names; nil: the groups of uid's user, or none with a gid alone
 *   limits sequence of { RLIMIT_…, soft, hard }; nil leaves one as it is, math.huge is none */
typedef struct {
  launch_plan_t launch;
  int *stdio; /* launch.stdio, to put descriptors in where PLAN_PIPE is */
} plan_t;

/* Reads the table at `index`. Strings stay in it and arrays become userdata on the stack: both must outlive the
 * use of `plan`. True, or false with an error object on top of the stack: a group has a name that nobody knows. */
bool plan_read(lua_State *L, int index, plan_t *plan);

/* Gives the kernel what has only collected, then launch; pushes an error object (syscall; refused = true for an attribute beyond Node's; limit, an index from 1)
 * where it fails. */
pid_t plan_launch(lua_State *L, const plan_t *plan);

/* Returns nil and the error object on top of the stack to Lua. */
int plan_failed(lua_State *L);

/* Sets IGNORE, PIPE, MAX_SLOTS, and LIMITS (names → RLIMIT_…) in the table on top of L. */
void plan_export(lua_State *L);

#endif
