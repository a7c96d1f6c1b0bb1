/* host/pool.c: Lua's blocks of up to MOST bytes come from one range (host/blocks.h), all others from the allocator that the
 * state had. Lua tells the size of what it gives back. */
#include "host/pool.h"

#include "host/blocks.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 512 };
/* Of addresses: enough for a worker, little to keep after a burst. */
#define RANGE ((size_t)8 * 1024 * 1024)

struct pool {
  blocks_t blocks;
  lua_Alloc rest; /* the state's own, for all that is not here */
  void *rest_data;
};

static void *take(pool_t *pool, size_t size) {
  void *block = size > MOST ? NULL : blocks_take(&pool->blocks, size);
  return block ? block : pool->rest(pool->rest_data, NULL, 0, size);
}

static void give(pool_t *pool, void *block, size_t size) {
  if (blocks_has(&pool->blocks, block)) blocks_give(&pool->blocks, block, size);
  else pool->rest(pool->rest_data, block, size, 0);
}

static void *change(pool_t *pool, void *old, size_t old_size, size_t size) {
  if (!blocks_has(&pool->blocks, old)) return pool->rest(pool->rest_data, old, old_size, size);
  if (size <= MOST && blocks_class(size) == blocks_class(old_size)) return old;
  void *block = take(pool, size);
  if (!block) return NULL;
  memcpy(block, old, size < old_size ? size : old_size);
  give(pool, old, old_size);
  return block;
}

static void *allocate(void *data, void *old, size_t old_size, size_t size) {
  pool_t *pool = data;
  if (!old) return size > 0 ? take(pool, size) : NULL;
  if (size > 0) return change(pool, old, old_size, size);
  give(pool, old, old_size);
  return NULL;
}

/* LuaJIT's objects have addresses of 47 bits. */
static bool is_low(const blocks_t *blocks) { return ((uintptr_t)blocks->start + RANGE) >> 47 == 0; }

pool_t *pool_open(lua_State *L) {
  pool_t *pool = calloc(1, sizeof *pool);
  if (!pool) return NULL;
  bool opened = blocks_open(&pool->blocks, RANGE);
  if (!opened || !is_low(&pool->blocks)) {
    if (opened) blocks_close(&pool->blocks);
    free(pool);
    return NULL;
  }
  pool->rest = lua_getallocf(L, &pool->rest_data);
  lua_setallocf(L, allocate, pool);
  return pool;
}

void pool_close(pool_t *pool) {
  if (!pool) return;
  blocks_close(&pool->blocks);
  free(pool);
}
