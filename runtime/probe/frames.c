/* probe/frames.c: reads LuaJIT's own structures (those with 64-bit references, as Debian builds it) where no call of its
 * API may be made: in a signal handler, while machine code runs that never returns.
 *
 * Nothing is trusted: every word is read by way of the kernel, which says that an address is bad instead of letting the
 * process die of it, and each object has to say that it is of the kind that is looked for. Where something does not fit,
 * less is told. Offsets that depend on the version are found in memory, at the start or by what is at the other end. */
#include "probe/frames.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { /* offsets in structures that are the same in all of LuaJIT 2.1 */
       OBJECT_KIND = 9,
       STATE_GLOBAL = 16,
       STATE_BASE = 32,
       STATE_STACK = 56,
       STRING_LENGTH = 20,
       STRING_BYTES = 24,
       FUNCTION_ID = 10, /* 0: written in Lua */
       FUNCTION_PC = 32,
       PROTO_BYTECODES = 12,
       PROTO_CHUNK = 64,
       PROTO_FIRST_LINE = 72,
       PROTO_LINES = 76,
       PROTO_LINE_INFO = 80,
       PROTO_SIZE = 104, /* its bytecode follows */
       TRACE_PROTO = 64,
       TRACE_PC = 72,
       TRACE_NUMBER = 104,
       TRACE_ROOT = 108
};
enum { KIND_STRING = 4, KIND_THREAD = 6, KIND_PROTO = 7, KIND_FUNCTION = 8, KIND_TRACE = 9 };
/* The lower bits of a frame's link: whose frame lies below. All but the first have its distance in the other bits. */
enum { FRAME_LUA_BITS = 3, FRAME_LUA = 0, FRAME_BITS = 7, FRAME_CONTINUATION = 2, FRAME_VARARGS = 3 };
#define POINTER_BITS ((UINT64_C(1) << 47) - 1)

enum { GLOBAL_WORDS = 256, COMPILER_BYTES = 64 * 1024, PIECE = 2048, MAX_FRAMES = 200, MAX_SOURCE = 300 };

static struct {
  uint64_t L;      /* the main state */
  uint64_t global; /* address of LuaJIT's global state */
  uint64_t vmstate, current, base;
} layout;

static int pipe_ends[2] = {-1, -1}; /* while a handler runs */

/* Copies memory that may not be there; false: it is not. By bare system calls: a sanitizer would look at the bytes
 * itself. */
static bool peek(uint64_t address, void *to, size_t length) {
  if (address < 4096) return false;
  long size = (long)length;
  return syscall(SYS_write, pipe_ends[1], (const void *)(uintptr_t)address, length) == size &&
         syscall(SYS_read, pipe_ends[0], to, length) == size;
}

static uint64_t peek_word(uint64_t address) {
  uint64_t word = 0;
  return peek(address, &word, sizeof word) ? word : 0;
}
static uint32_t peek_half(uint64_t address) {
  uint32_t half = 0;
  return peek(address, &half, sizeof half) ? half : 0;
}
static unsigned peek_quarter(uint64_t address) {
  uint16_t quarter = 0;
  return peek(address, &quarter, sizeof quarter) ? quarter : 0;
}

static bool is_kind(uint64_t object, unsigned kind) {
  unsigned char found = 0;
  return object % 8 == 0 && peek(object + OBJECT_KIND, &found, 1) && found == kind;
}

/* The panic function is one of the few words in the global state that are known from without: the running coroutine and
 * the base of compiled code follow it, behind two bytecodes. The state of the machine is in front of the main state. */
void frames_prepare(lua_State *L) {
  const uint64_t *state = (const void *)L;
  const uint64_t *global = (const void *)(uintptr_t)state[STATE_GLOBAL / 8];
  lua_CFunction panic = lua_atpanic(L, NULL);
  lua_atpanic(L, panic);
  if (sizeof(void *) != 8) return;
  for (size_t i = 1; i < GLOBAL_WORDS; i++) {
    if (!layout.vmstate && global[i] == (uintptr_t)L) layout.vmstate = (uintptr_t)(global + i - 1);
    if (global[i] != (uintptr_t)panic) continue;
    layout.global = (uintptr_t)global;
    layout.current = (uintptr_t)(global + i + 2);
    layout.base = (uintptr_t)(global + i + 3);
    return;
  }
}

frames_state_t frames_state(void) {
  if (!layout.vmstate || !layout.global) return FRAMES_UNKNOWN;
  int32_t state = *(const volatile int32_t *)(uintptr_t)layout.vmstate;
  if (state >= 0) return FRAMES_TRACE;
  switch (~state) {
  case 0: return FRAMES_INTERPRETER;
  case 1: return FRAMES_C;
  case 2: return FRAMES_COLLECTOR;
  case 3: return FRAMES_INTERPRETER; /* it leaves a trace */
  default: return FRAMES_COMPILER;
  }
}

/* Places --------------------------------------------------------------------------------------------------------- */

/* The line of a bytecode; 0 when it is unknown. */
static uint64_t line_of(uint64_t proto, uint64_t position) {
  uint64_t info = peek_word(proto + PROTO_LINE_INFO);
  uint32_t first = peek_half(proto + PROTO_FIRST_LINE), lines = peek_half(proto + PROTO_LINES);
  if (!info || position > peek_half(proto + PROTO_BYTECODES)) return 0;
  if (position == 0) return first;
  position--;
  unsigned char byte = 0;
  if (lines < 256) return peek(info + position, &byte, 1) ? first + byte : 0;
  if (lines < 65536) return first + peek_quarter(info + 2 * position);
  return first + peek_half(info + 4 * position);
}

void frames_line(report_t *report, uint64_t line, uint64_t defined, const char *source, size_t length) {
  report_text(report, "frame ");
  report_number(report, line);
  report_text(report, " ");
  report_number(report, defined);
  report_text(report, " ");
  for (size_t i = 0; i < length; i++)
    report_bytes(report, (unsigned char)source[i] < ' ' ? "?" : source + i, 1);
  report_text(report, "\n");
}

static void report_place(report_t *report, uint64_t proto, uint64_t line) {
  char source[MAX_SOURCE];
  uint64_t chunk = peek_word(proto + PROTO_CHUNK);
  if (!is_kind(chunk, KIND_STRING)) return;
  size_t length = peek_half(chunk + STRING_LENGTH);
  if (length > MAX_SOURCE) length = MAX_SOURCE;
  if (!peek(chunk + STRING_BYTES, source, length)) return;
  frames_line(report, line, peek_half(proto + PROTO_FIRST_LINE), source, length);
}

/* The prototype of a Lua function; 0 for anything else. */
static uint64_t proto_of(uint64_t function) {
  unsigned char id = 1;
  if (!is_kind(function, KIND_FUNCTION) || !peek(function + FUNCTION_ID, &id, 1) || id != 0) return 0;
  uint64_t proto = peek_word(function + FUNCTION_PC) - PROTO_SIZE;
  return is_kind(proto, KIND_PROTO) ? proto : 0;
}

/* `next`: of the bytecode behind the one that runs, or 0. */
static uint64_t line_at(uint64_t proto, uint64_t next) {
  uint64_t code = proto + PROTO_SIZE;
  return next > code ? line_of(proto, (next - code) / 4 - 1) : 0;
}

/* Traces --------------------------------------------------------------------------------------------------------- */

static bool is_trace(uint64_t object, unsigned number) {
  return is_kind(object, KIND_TRACE) && peek_quarter(object + TRACE_NUMBER) == number &&
         is_kind(peek_word(object + TRACE_PROTO), KIND_PROTO);
}

/* The compiler's state lies behind the global one. A pointer in it leads to the list of traces; its length follows. */
static uint64_t find_trace(unsigned number) {
  uint64_t words[PIECE / 8 + 1];
  for (uint64_t from = layout.base; from < layout.base + COMPILER_BYTES; from += PIECE) {
    if (!peek(from, words, sizeof words)) return 0;
    for (size_t i = 0; i < PIECE / 8; i++) {
      uint64_t size = words[i + 1] >> 32;
      if (words[i] % 8 != 0 || words[i] < 4096 || size <= number || size > 65536) continue;
      uint64_t trace = peek_word(words[i] + 8 * (uint64_t)number);
      if (trace && is_trace(trace, number)) return trace;
    }
  }
  return 0;
}

/* Its number and where it begins → the line there, 0 when that is unknown. */
static uint64_t report_trace(report_t *report, unsigned number) {
  report_text(report, "trace ");
  report_number(report, number);
  report_text(report, "\n");
  uint64_t trace = find_trace(number);
  unsigned root = trace ? peek_quarter(trace + TRACE_ROOT) : 0;
  uint64_t first = root ? find_trace(root) : trace;
  if (!first) return 0;
  uint64_t proto = peek_word(first + TRACE_PROTO), code = proto + PROTO_SIZE,
           pc = peek_word(first + TRACE_PC);
  uint64_t line = pc >= code ? line_of(proto, (pc - code) / 4) : 0;
  report_text(report, "begins ");
  report_place(report, proto, line);
  return line;
}

/* The stack ------------------------------------------------------------------------------------------------------ */

static bool is_called_from_lua(uint64_t link) { return (link & FRAME_LUA_BITS) == FRAME_LUA; }

/* From a frame to the one below it. */
static uint64_t below(uint64_t base, uint64_t link) {
  if (!is_called_from_lua(link)) return base - (link & ~(uint64_t)FRAME_BITS);
  uint32_t call = peek_half(link - 4);
  return base - 8 * (2 + (uint64_t)((call >> 8) & 0xff));
}

/* Below the slots of a frame lie its function and a link. A function with `...` has two: what it was called with lies
 * in the lower one. */
static void report_stack(report_t *report, uint64_t state, uint64_t base, uint64_t line) {
  uint64_t bottom = peek_word(state + STATE_STACK);
  uint64_t next = 0; /* the bytecode behind the one at which the frame stands */
  bool lower = false;
  for (int i = 0; i < MAX_FRAMES && base > bottom + 16; i++) {
    uint64_t link = peek_word(base - 8), proto = proto_of(peek_word(base - 16) & POINTER_BITS);
    if (proto && !lower) report_place(report, proto, i == 0 && line ? line : line_at(proto, next));
    lower = (link & FRAME_BITS) == FRAME_VARARGS;
    if (is_called_from_lua(link)) next = link;
    else next = (link & FRAME_BITS) == FRAME_CONTINUATION ? peek_word(base - 24) : 0;
    uint64_t under = below(base, link);
    if (under >= base) return;
    base = under;
  }
}

void frames_report(report_t *report, frames_state_t state) {
  if (pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) != 0) return;
  uint64_t thread = peek_word(layout.current) & POINTER_BITS;
  uint64_t line = 0;
  if (state == FRAMES_TRACE) line = report_trace(report, (unsigned)peek_half(layout.vmstate));
  if (is_kind(thread, KIND_THREAD)) {
    uint64_t base = state == FRAMES_TRACE ? peek_word(layout.base) : peek_word(thread + STATE_BASE);
    report_stack(report, thread, base, line);
  }
  close(pipe_ends[0]);
  close(pipe_ends[1]);
}
