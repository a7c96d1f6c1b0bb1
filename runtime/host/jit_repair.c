/* host/jit_repair.c: owns the look at compiled code. The LuaJIT of March 2022, which Debian 12 has, compiles a loop over
 * `pairs` into a call of its `lj_vm_next`, which returns a pointer and a number. Where it wants them in each other's
 * register it exchanges the lower halves alone: the pointer is cut, and the process dies by SIGSEGV, seldom and anywhere.
 * LuaJIT mended it in April 2022.
 *
 * LuaJIT tells of each trace that it has compiled, before it runs it (`jit.attach`). Where its code has that call with
 * that exchange behind it, the call is made to go to next_exchanged, which exchanges whole registers, and nothing is done
 * behind it. A program that attaches a function of its own to traces does without this. */
#include "host/jit_repair.h"

#include <luajit.h>

#if defined(__x86_64__) && LUAJIT_VERSION_NUM == 20100

#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CALL = 0xe8, CALL_SIZE = 5, EXCHANGE = 0x92, NOTHING = 0x90 };

/* A library that is loaded does not show it; then there is nothing to go by. */
extern char lj_vm_next[] __attribute__((weak));

/* It leaves its results below its caller's frame, so it must be called from as deep. %r11 is nobody's across a call. */
extern char next_exchanged[] __asm__("lrun_next_exchanged");
__asm__(".text\n"
        "lrun_next_exchanged:\n"
        "  pop %r11\n"
        "  call lj_vm_next\n"
        "  xchg %rax, %rdx\n"
        "  jmp *%r11\n"
        ".weak lj_vm_next\n");

static int32_t distance(const unsigned char *call, const char *to) {
  return (int32_t)((uintptr_t)to - (uintptr_t)(call + CALL_SIZE));
}

static bool is_wrong(const unsigned char *at) {
  int32_t to;
  if (at[0] != CALL || at[CALL_SIZE] != EXCHANGE) return false;
  memcpy(&to, at + 1, sizeof to);
  return to == distance(at, lj_vm_next);
}

static void mend(unsigned char *at) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  unsigned char *start = (unsigned char *)((uintptr_t)at & ~(uintptr_t)(page - 1));
  size_t size = (size_t)(at + CALL_SIZE + 1 - start);
  int32_t to = distance(at, next_exchanged);
  if (mprotect(start, size, PROT_READ | PROT_WRITE) != 0) return;
  memcpy(at + 1, &to, sizeof to);
  at[CALL_SIZE] = NOTHING;
  mprotect(start, size, PROT_READ | PROT_EXEC); /* as LuaJIT left it */
}

/* Pushes `jit.util.tracemc`. The module is opened when the first trace is there: most scripts end before. */
static void push_tracemc(lua_State *L) {
  if (lua_toboolean(L, lua_upvalueindex(2))) {
    lua_pushvalue(L, lua_upvalueindex(1));
    return;
  }
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_call(L, 0, 1);
  lua_getfield(L, -1, "tracemc");
  lua_pushvalue(L, -1);
  lua_replace(L, lua_upvalueindex(1));
  lua_pushboolean(L, 1);
  lua_replace(L, lua_upvalueindex(2));
}

/* LuaJIT calls it with what happened, and a trace's number. */
static int on_trace(lua_State *L) {
  const char *what = lua_tostring(L, 1);
  if (!what || strcmp(what, "stop") != 0) return 0;
  push_tracemc(L);
  lua_pushvalue(L, 2);
  lua_call(L, 1, 2);
  size_t size = 0;
  if (!lua_tolstring(L, -2, &size)) return 0;
  unsigned char *code = (unsigned char *)(uintptr_t)lua_tonumber(L, -1);
  for (size_t i = 0; i + CALL_SIZE < size; i++)
    if (is_wrong(code + i)) mend(code + i);
  return 0;
}

void jit_repair_begin(lua_State *L) {
  if (!lj_vm_next) return;
  lua_getglobal(L, "jit");
  lua_getfield(L, -1, "attach");
  lua_getfield(L, LUA_REGISTRYINDEX, "_PRELOAD");
  lua_getfield(L, -1, "jit.util");
  lua_remove(L, -2);
  lua_pushboolean(L, 0);
  lua_pushcclosure(L, on_trace, 2);
  lua_pushliteral(L, "trace");
  lua_call(L, 2, 0);
  lua_pop(L, 1);
}

#else

void jit_repair_begin(lua_State *L) { (void)L; }

#endif
