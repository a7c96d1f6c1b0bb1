/* io/stats.c: owns the page of counters of this process and the handle that times its loop: host/callback.c writes
 * when the first callback of a turn begins, the handle how long they all took.
 * The page is anonymous memory first; stats_share maps shared memory over it, so pointers to it stay good. */
#include "io/stats.h"

#include "host/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };

static char stats_key; /* its address is the registry key */

stats_t *stats_of(lua_State *L) {
  lua_pushlightuserdata(L, &stats_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  stats_t *stats = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (stats) return stats;
  void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return NULL;
  lua_pushlightuserdata(L, &stats_key);
  lua_pushlightuserdata(L, page);
  lua_rawset(L, LUA_REGISTRYINDEX);
  return page;
}

int stats_share(lua_State *L, int fd) {
  stats_t *stats = stats_of(L);
  if (!stats) return UV_ENOMEM;
  stats_t counted = *stats;
  if (mmap(stats, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
    return uv_translate_sys_error(errno);
  *stats = counted;
  return 0;
}

typedef struct {
  uv_prepare_t before; /* never closed by us: it lasts as long as the loop */
  stats_t *stats;
} turn_watch_t;

static void on_before_wait(uv_prepare_t *handle) {
  stats_t *stats = ((turn_watch_t *)handle)->stats;
  uint64_t started = stats->turn_started;
  if (!started) return;
  uint64_t took = uv_hrtime() - started;
  if (took > stats->longest_turn) stats->longest_turn = took;
  stats->turn_started = 0;
}

int stats_watch(lua_State *L, uv_loop_t *loop) {
  stats_t *stats = stats_of(L);
  if (!stats) return UV_ENOMEM;
  /* Userdata, pinned in the registry: it goes with the state, which goes after the loop. */
  turn_watch_t *watch = lua_newuserdata(L, sizeof *watch);
  luaL_ref(L, LUA_REGISTRYINDEX);
  memset(watch, 0, sizeof *watch);
  watch->stats = stats;
  uv_prepare_init(loop, &watch->before);
  uv_prepare_start(&watch->before, on_before_wait);
  uv_unref((uv_handle_t *)&watch->before);
  callback_watch_turns(L, &stats->turn_started);
  return 0;
}

int stats_create(int *fd, stats_t **out, const char **syscall) {
  *syscall = "memfd_create";
  *fd = memfd_create("lrun-stats", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (*fd < 0) return uv_translate_sys_error(errno);
  void *page = MAP_FAILED;
  bool sized = ftruncate(*fd, PAGE) == 0 && fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) == 0;
  *syscall = sized ? "mmap" : "ftruncate";
  if (sized) page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
  if (page == MAP_FAILED) {
    int rc = uv_translate_sys_error(errno);
    close(*fd);
    return rc;
  }
  *out = page;
  return 0;
}

void stats_unmap(stats_t *stats) {
  if (stats) munmap(stats, PAGE);
}
