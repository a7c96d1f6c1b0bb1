/* shared/room.c: sees to it that a dictionary stays within its size. What has ended goes first, then, unless `evict` is
 * false, what was used least recently; queues stay. All of it happens in the transaction of the write that needs room. */
#include "shared/store.h"

#include <string.h>

enum {
  PAGE = 4096,
  PAGE_HEAD = 16,
  NODE_HEAD = 10,   /* of a record within a page, with its place in the page's index */
  NODE_MAX = 2038,  /* a larger record has pages of its own */
  PAGE_NUMBER = 8,  /* which page that is */
  ENDED_AT_ONCE = 4 /* entries that have ended and go with any write that needs room at all */
};

/* Pages of a tree that is written at random are two thirds full. */
static size_t in_tree(size_t bytes) { return bytes + bytes / 2; }

size_t room_cost(size_t key_len, size_t len) {
  if (NODE_HEAD + key_len + len <= NODE_MAX) return in_tree(NODE_HEAD + key_len + len);
  size_t pages = (PAGE_HEAD + len + PAGE - 1) / PAGE;
  return in_tree(NODE_HEAD + key_len + PAGE_NUMBER) + pages * PAGE;
}

static bool same(const store_key_t *a, const store_key_t *b) {
  return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

static bool fits(const store_t *store, size_t bytes) {
  return store->meta.used + bytes <= store->notes->size;
}

/* Takes away what has ended, `keep` not: `most` entries, or as many as make room. */
static int drop_ended(store_t *store, size_t bytes, const store_key_t *keep, int most) {
  store_key_t key;
  for (int n = 0; n < most || !fits(store, bytes); n++) {
    int rc = store_first_end(store, &key);
    if (rc == MDB_NOTFOUND || (rc == 0 && same(&key, keep))) return 0;
    if (rc == 0) rc = store_remove(store, &key);
    if (rc != 0) return rc;
  }
  return 0;
}

int room_make(store_t *store, size_t bytes, const store_key_t *keep) {
  store_key_t key;
  int rc = drop_ended(store, bytes, keep, ENDED_AT_ONCE);
  uint64_t moves = 0;
  while (rc == 0 && !fits(store, bytes)) {
    if (!store->notes->evict) return STORE_FULL;
    bool moved = false;
    rc = store_first_use(store, &key);
    if (rc == MDB_NOTFOUND) return STORE_FULL;
    if (rc == 0) rc = store_evict(store, &key, same(&key, keep), &moved);
    if (rc == 0 && moved && ++moves > 2 * store->meta.keys + 2) return STORE_FULL;
  }
  return rc;
}
