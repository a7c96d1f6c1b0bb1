/* libcrypto/memory.c: see libcrypto/memory.h. A handshake makes and drops eight hundred objects. In malloc's hands they
 * lie between all else that the process has made since its start, and touching them costs more than they do. Here they
 * lie side by side: a region of addresses is given out by pages, each for blocks of one size, and what comes back is the
 * first to be used again.
 *
 * In: take → the list of the block's size, or a page more of the region; malloc when that is used up, for what is large,
 * and for other threads than the loop's. Out: give tells by the address whose it is. What another thread gives back
 * waits in `returned` until the loop's thread needs a page. Pages stay the region's: no more than it is large. */
#include "libcrypto/memory.h"

#include "libcrypto/library.h"
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
  STEP = 16,    /* sizes are multiples of it */
  CLASSES = 64, /* blocks of up to 1 KiB */
  PAGE = 4096,  /* bytes */
  PAGES = 4096, /* of the region: 16 MiB of addresses, of memory as much as was needed at once */
};

typedef struct block {
  struct block *next;
} block_t;

static struct {
  uintptr_t base;
  size_t pages;                /* in use */
  block_t *free[CLASSES + 1];  /* by size in steps */
  uint8_t steps[PAGES];        /* the size of a page's blocks */
  _Atomic(block_t *) returned; /* by other threads */
} region;

static _Thread_local bool is_loop; /* this is the loop's thread */

/* Which page an address lies on; PAGES or more: on none. */
static size_t page_of(const void *memory) { return ((uintptr_t)memory - region.base) / PAGE; }

static void give_back(block_t *block) {
  size_t steps = region.steps[page_of(block)];
  block->next = region.free[steps];
  region.free[steps] = block;
}

static void take_returned(void) {
  block_t *block = atomic_exchange(&region.returned, NULL);
  while (block != NULL) {
    block_t *next = block->next;
    give_back(block);
    block = next;
  }
}

/* Makes blocks of a page more, if there is one. */
static void carve(size_t steps) {
  if (region.pages == PAGES) return;
  char *page = (char *)region.base + region.pages * PAGE;
  region.steps[region.pages++] = (uint8_t)steps;
  size_t size = steps * STEP;
  for (size_t n = PAGE / size; n > 0; n--) give_back((block_t *)(page + (n - 1) * size));
}

static void *take(size_t size, const char *file, int line) {
  (void)file, (void)line;
  if (size == 0) return NULL;
  size_t steps = (size + STEP - 1) / STEP;
  if (steps > CLASSES || !is_loop) return malloc(size);
  if (region.free[steps] == NULL) take_returned();
  if (region.free[steps] == NULL) carve(steps);
  block_t *block = region.free[steps];
  if (block == NULL) return malloc(size);
  region.free[steps] = block->next;
  return block;
}

static void give(void *memory, const char *file, int line) {
  (void)file, (void)line;
  if (page_of(memory) >= PAGES) {
    free(memory);
    return;
  }
  block_t *block = memory;
  if (is_loop) {
    give_back(block);
    return;
  }
  block->next = atomic_load(&region.returned);
  while (!atomic_compare_exchange_weak(&region.returned, &block->next, block)) {}
}

static void *resize(void *memory, size_t size, const char *file, int line) {
  if (memory == NULL) return take(size, file, line);
  if (size == 0) {
    give(memory, file, line);
    return NULL;
  }
  size_t page = page_of(memory);
  if (page >= PAGES) return realloc(memory, size);
  size_t had = (size_t)region.steps[page] * STEP;
  if (size <= had) return memory;
  void *larger = take(size, file, line);
  if (larger == NULL) return NULL;
  memcpy(larger, memory, had);
  give(memory, file, line);
  return larger;
}

#ifdef LRUN_SANITIZE

/* The sanitizer wants to see each object. */
void libcrypto_memory_begin(void) { (void)take, (void)give, (void)resize; }

#else

void libcrypto_memory_begin(void) {
  const size_t size = (size_t)PAGES * PAGE;
  void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return;
  region.base = (uintptr_t)base;
  if (crypto_lib.CRYPTO_set_mem_functions(take, resize, give) == 1) is_loop = true;
  else munmap(base, size);
}

#endif
