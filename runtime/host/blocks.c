/* host/blocks.c: see host/blocks.h. */
#include "host/blocks.h"

#include <sys/mman.h>

bool blocks_open(blocks_t *blocks, size_t range) {
  void *start = mmap(NULL, range, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return false;
  madvise(start, range, MADV_NOHUGEPAGE);
  size_t runs = range / BLOCKS_RUN;
  blocks->start = start;
  blocks->range = range;
  blocks->classes = start;
  blocks->used = (runs + BLOCKS_RUN - 1) / BLOCKS_RUN * BLOCKS_RUN;
  return true;
}

void blocks_close(blocks_t *blocks) { munmap(blocks->start, blocks->range); }

static bool begin_run(blocks_t *blocks, size_t class) {
  if (blocks->range - blocks->used < BLOCKS_RUN) return false;
  blocks->classes[blocks->used / BLOCKS_RUN] = (uint8_t) class;
  blocks->fresh[class] = blocks->start + blocks->used;
  blocks->end[class] = blocks->fresh[class] + BLOCKS_RUN;
  blocks->used += BLOCKS_RUN;
  return true;
}

void *blocks_take_fresh(blocks_t *blocks, size_t class) {
  size_t size = (class + 1) * BLOCKS_STEP;
  if ((size_t)(blocks->end[class] - blocks->fresh[class]) < size && !begin_run(blocks, class)) return NULL;
  char *block = blocks->fresh[class];
  blocks->fresh[class] += size;
  return block;
}
