/* host/pool.c: owns one range of addresses, from which blocks of up to MOST bytes come: for each multiple of STEP a list of
 * free ones, refilled by a run of fresh ones. Lua tells the size of what it gives back, so that no block has a head; to
 * take or give one back are a few steps, where LuaJIT's own allocator looks for the best fit and joins neighbours. What a
 * run was taken for it stays; the range is touched only as far as it is used, and when it is used up the state's own
 * allocator has the rest. */
#include "host/pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { STEP = 16, MOST = 512, CLASSES = MOST / STEP, RUN = 2048 };
/* Of addresses. What is touched once stays the process's: enough for a worker, little to keep after a burst. */
#define RANGE ((size_t)8 * 1024 * 1024)

typedef struct block {
  struct block *next;
} block_t;

struct pool {
  lua_Alloc rest; /* the state's own, for all that is not here */
  void *rest_data;
  char *start; /* of the range */
  size_t used; /* bytes of it that runs have */
  block_t *free[CLASSES];
  char *fresh[CLASSES]; /* of the class's last run, what was never taken */
  char *end[CLASSES];
};

static size_t class_of(size_t size) { return (size - 1) / STEP; }
static bool is_here(const pool_t *pool, const void *block) {
  return (size_t)((uintptr_t)block - (uintptr_t)pool->start) < RANGE;
}

static void *take_fresh(pool_t *pool, size_t class) {
  size_t size = (class + 1) * STEP;
  if ((size_t)(pool->end[class] - pool->fresh[class]) < size) {
    if (RANGE - pool->used < RUN) return pool->rest(pool->rest_data, NULL, 0, size);
    pool->fresh[class] = pool->start + pool->used;
    pool->end[class] = pool->fresh[class] + RUN;
    pool->used += RUN;
  }
  char *block = pool->fresh[class];
  pool->fresh[class] += size;
  return block;
}

static void *take(pool_t *pool, size_t size) {
  if (size > MOST) return pool->rest(pool->rest_data, NULL, 0, size);
  size_t class = class_of(size);
  block_t *block = pool->free[class];
  if (!block) return take_fresh(pool, class);
  pool->free[class] = block->next;
  return block;
}

static void give(pool_t *pool, void *place, size_t size) {
  if (!is_here(pool, place)) {
    pool->rest(pool->rest_data, place, size, 0);
    return;
  }
  block_t *block = place;
  size_t class = class_of(size);
  block->next = pool->free[class];
  pool->free[class] = block;
}

static void *change(pool_t *pool, void *old, size_t old_size, size_t size) {
  if (!is_here(pool, old)) return pool->rest(pool->rest_data, old, old_size, size);
  if (size <= MOST && class_of(size) == class_of(old_size)) return old;
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
static bool is_low(const char *start) { return ((uintptr_t)start + RANGE) >> 47 == 0; }

pool_t *pool_open(lua_State *L) {
  pool_t *pool = calloc(1, sizeof *pool);
  if (!pool) return NULL;
  pool->start = mmap(NULL, RANGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pool->start == MAP_FAILED || !is_low(pool->start)) {
    if (pool->start != MAP_FAILED) munmap(pool->start, RANGE);
    free(pool);
    return NULL;
  }
  madvise(pool->start, RANGE, MADV_NOHUGEPAGE);
  pool->rest = lua_getallocf(L, &pool->rest_data);
  lua_setallocf(L, allocate, pool);
  return pool;
}

void pool_close(pool_t *pool) {
  if (!pool) return;
  munmap(pool->start, RANGE);
  free(pool);
}
