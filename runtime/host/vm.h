/* host/vm.h: one Lua state on one loop. */
#ifndef LRUN_HOST_VM_H
#define LRUN_HOST_VM_H

#include <lua.h>
#include <stdbool.h>
#include <uv.h>

typedef struct vm vm_t;

/* Work to do when the process ends, before its memory goes: write what must not be lost. May not enter Lua.
 */
typedef void (*vm_exit_hook)(void *data);

vm_t *vm_new(void);

/* The VM that a Lua state belongs to. */
vm_t *vm_of(lua_State *L);

uv_loop_t *vm_loop(vm_t *vm);
/* Whether the loop was running; notes that it is, or has ended. */
bool vm_set_running(vm_t *vm, bool running);
/* The main Lua state: what a libuv callback passes to callback_enter. */
lua_State *vm_state(vm_t *vm);

/* Whether a handle of the loop is luv's. A handle of the host's own must have `data` point to a struct of at
 * least sizeof(luv_handle_t) bytes, or to nothing. */
bool vm_is_luv_handle(lua_State *L, const uv_handle_t *handle);

/* Runs the main chunk (a function on top of vm_state with `nargs` arguments above it), then the loop until
 * nothing keeps it alive. HOOK_EXIT ends the process with its exit code. */
void vm_run(vm_t *vm, int nargs);

/* Hooks run in reverse order of their registration, once. */
void vm_at_exit(vm_t *vm, vm_exit_hook hook, void *data);
void vm_forget_exit(vm_t *vm, vm_exit_hook hook, void *data);

#endif
