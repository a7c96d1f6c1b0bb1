/* main.c: the command line → a table → lualib/lrun/boot.lua on the main coroutine → the loop → the exit code.
 */
#include "options.h"
#include "vm.h"

#include <lauxlib.h>
#include <stdio.h>
#include <uv.h>

int main(int argc, char **argv) {
  argv = uv_setup_args(argc, argv);
  vm_t *vm = vm_new();
  if (!vm) {
    fputs("lrun: out of memory\n", stderr);
    return 1;
  }
  lua_State *L = vm_state(vm);
  int rc = options_push(L, argc, argv);
  if (rc != 0) return rc;
  lua_getglobal(L, "require");
  lua_pushliteral(L, "lrun.boot");
  if (lua_pcall(L, 1, 1, 0) != 0) {
    fprintf(stderr, "lrun: %s\n", lua_tostring(L, -1));
    return 1;
  }
  lua_insert(L, 1);
  rc = vm_run(vm, 1);
  vm_free(vm);
  return rc;
}
