/* libcrypto/memory.c: see libcrypto/memory.h. A handshake makes and drops eight hundred objects. In malloc's hands they
 * lie between all else that the process has made since its start, and touching them costs more than they do. Here they
 * lie side by side, in a range of their own (host/blocks.h), and what comes back is the first to be used again.
 *
 * In: take → a block of the loop's thread; malloc when there is no room, for what is large, and for other threads. Out:
 * give tells by the address whose it is. What another thread gives back waits in `returned` until the loop's thread takes
 * a block of a size that has none free. */
#include "libcrypto/memory.h"

#include "host/blocks.h"
#include "libcrypto/library.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Of addresses: of memory as much as was needed at once. */
#define RANGE ((size_t)16 * 1024 * 1024)

static blocks_t blocks;
static _Atomic(block_t *) returned; /* by other threads */
static _Thread_local bool is_loop;  /* this is the loop's thread */

static void give_back(void *block) { blocks_give(&blocks, block, blocks_size(&blocks, block)); }

static void take_returned(void) {
  block_t *block = atomic_exchange(&returned, NULL);
  while (block != NULL) {
    block_t *next = block->next;
    give_back(block);
    block = next;
  }
}

static void *take(size_t size, const char *file, int line) {
  (void)file, (void)line;
  if (size == 0) return NULL;
  if (size > BLOCKS_MOST || !is_loop) return malloc(size);
  if (!blocks_has_free(&blocks, size)) take_returned();
  void *block = blocks_take(&blocks, size);
  return block != NULL ? block : malloc(size);
}

static void give(void *memory, const char *file, int line) {
  (void)file, (void)line;
  if (!blocks_has(&blocks, memory)) {
    free(memory);
    return;
  }
  if (is_loop) {
    give_back(memory);
    return;
  }
  block_t *block = memory;
  block->next = atomic_load(&returned);
  while (!atomic_compare_exchange_weak(&returned, &block->next, block)) {}
}

static void *resize(void *memory, size_t size, const char *file, int line) {
  if (memory == NULL) return take(size, file, line);
  if (size == 0) {
    give(memory, file, line);
    return NULL;
  }
  if (!blocks_has(&blocks, memory)) return realloc(memory, size);
  size_t had = blocks_size(&blocks, memory);
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
  if (!blocks_open(&blocks, RANGE)) return;
  is_loop = crypto_lib.CRYPTO_set_mem_functions(take, resize, give) == 1;
  if (!is_loop) blocks_close(&blocks);
}

#endif
