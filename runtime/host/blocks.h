/* host/blocks.h: small blocks out of one range of addresses, for one thread.
 * A size, rounded up to a step, has a list of the blocks that came back, and a run of fresh ones: the range is cut into
 * runs, each of one size, as it is needed, and touched only as far as it is used. To take or give a block are a few steps,
 * where a general allocator looks for the best fit and joins neighbours. A run stays with its size, and what was touched
 * stays the process's: the owner says how large the range is, and has another place for what finds no room. */
#ifndef LRUN_HOST_BLOCKS_H
#define LRUN_HOST_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  BLOCKS_STEP = 16,
  BLOCKS_MOST = 1024, /* bytes of a block */
  BLOCKS_CLASSES = BLOCKS_MOST / BLOCKS_STEP,
  BLOCKS_RUN = 2048 /* bytes */
};

typedef struct block {
  struct block *next;
} block_t;

typedef struct {
  block_t *free[BLOCKS_CLASSES];
  char *fresh[BLOCKS_CLASSES]; /* of the class's last run, what was never taken */
  char *end[BLOCKS_CLASSES];
  char *start;
  size_t range;     /* bytes */
  size_t used;      /* of them runs have */
  uint8_t *classes; /* of the runs; lies at the start of the range */
} blocks_t;

/* Takes the addresses; false where there are none. All else is zero before. */
bool blocks_open(blocks_t *blocks, size_t range);
void blocks_close(blocks_t *blocks);

/* One that nobody had before; NULL when the range is used up. */
void *blocks_take_fresh(blocks_t *blocks, size_t class);

static inline size_t blocks_class(size_t size) { return (size - 1) / BLOCKS_STEP; }

/* Whether there is one of the size that came back. */
static inline bool blocks_has_free(const blocks_t *blocks, size_t size) {
  return blocks->free[blocks_class(size)] != NULL;
}

static inline bool blocks_has(const blocks_t *blocks, const void *memory) {
  return (size_t)((uintptr_t)memory - (uintptr_t)blocks->start) < blocks->range;
}

/* `size` is 1 to BLOCKS_MOST bytes. NULL when there is no room. */
static inline void *blocks_take(blocks_t *blocks, size_t size) {
  size_t class = blocks_class(size);
  block_t *block = blocks->free[class];
  if (!block) return blocks_take_fresh(blocks, class);
  blocks->free[class] = block->next;
  return block;
}

/* Gives back what was taken for `size`, or for another size of its class. */
static inline void blocks_give(blocks_t *blocks, void *memory, size_t size) {
  size_t class = blocks_class(size);
  block_t *block = memory;
  block->next = blocks->free[class];
  blocks->free[class] = block;
}

/* How many bytes the block has. */
static inline size_t blocks_size(const blocks_t *blocks, const void *memory) {
  size_t run = ((uintptr_t)memory - (uintptr_t)blocks->start) / BLOCKS_RUN;
  return ((size_t)blocks->classes[run] + 1) * BLOCKS_STEP;
}

#endif
