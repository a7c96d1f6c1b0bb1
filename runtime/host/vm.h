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

/* Work to do before something blocks, kills or ends the process: give the kernel what has only collected.
 * `last`: the process is about to end, what the kernel does not take at once is worth a wait. May not enter Lua. */
typedef void (*vm_flush_hook)(void *data, bool last);

/* 0, or a negative code: UV_ENOMEM, UV_EMFILE, … */
int vm_new(vm_t **out);

/* Tears a VM down that runs nothing any more: runs what is to happen at its end, closes the handles of its loop, the
 * Lua state and the loop. Not from within its Lua. What rooms keep for as long as a process lives (the prompt's
 * terminal, the queue of standard output) they keep. */
void vm_free(vm_t *vm);

/* The VM that a Lua state belongs to. */
vm_t *vm_of(lua_State *L);

/* A handle of the host's own on this loop must have `data` point to a struct of at least sizeof(luv_handle_t)
 * bytes, or to nothing: luv's `walk` passes it over. */
uv_loop_t *vm_loop(vm_t *vm);
/* Whether the loop was running; notes that it is, or has ended. */
bool vm_set_running(vm_t *vm, bool running);
/* The main Lua state: what a libuv callback passes to callback_enter. */
lua_State *vm_state(vm_t *vm);

/* Runs the main chunk (a function on top of vm_state with `nargs` arguments above it), then the loop until
 * nothing keeps it alive. HOOK_EXIT ends the process with its exit code. */
void vm_run(vm_t *vm, int nargs);

/* Hooks run in reverse order of their registration, once. */
void vm_at_exit(vm_t *vm, vm_exit_hook hook, void *data);
void vm_forget_exit(vm_t *vm, vm_exit_hook hook, void *data);

/* Hooks run in the order of their registration, at every vm_flush: by vm_exit, by the functions of Lua that block,
 * and by whoever is about to do the like (`lrun.core.vm`'s flush). */
void vm_at_flush(vm_t *vm, vm_flush_hook hook, void *data);
void vm_forget_flush(vm_t *vm, vm_flush_hook hook, void *data);
void vm_flush(vm_t *vm, bool last);

/* Ends the process: flushes, runs the exit hooks. */
_Noreturn void vm_exit(vm_t *vm, int code);

#endif
