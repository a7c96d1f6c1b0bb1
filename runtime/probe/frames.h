/* probe/frames.h: where the Lua code of a process stands, read from LuaJIT's memory by a signal handler. */
#ifndef LRUN_PROBE_FRAMES_H
#define LRUN_PROBE_FRAMES_H

#include "probe/report.h"
#include <lua.h>

/* What the virtual machine is at. */
typedef enum {
  FRAMES_INTERPRETER, /* Lua code that is interpreted: its frames are for a hook to tell */
  FRAMES_C,           /* a C function, or the loop */
  FRAMES_COLLECTOR,
  FRAMES_COMPILER,
  FRAMES_TRACE, /* machine code that LuaJIT made */
  FRAMES_UNKNOWN
} frames_state_t;

/* Finds out how this LuaJIT's memory is laid out; L is the main state, just made. */
void frames_prepare(lua_State *L);

frames_state_t frames_state(void);

/* Writes `trace N`, `at PLACE` where it begins, and a line `frame …` for each Lua function of the running coroutine, the
 * innermost first. Not in FRAMES_INTERPRETER. */
void frames_report(report_t *report, frames_state_t state);

/* One line: `frame LINE DEFINED SOURCE`; LINE 0: unknown. */
void frames_line(report_t *report, uint64_t line, uint64_t defined, const char *source, size_t length);

#endif
