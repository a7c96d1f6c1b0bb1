/* shared/queue.c: first in, first out. The entry of a queue holds its number and its two ends; an item is a record of its own, so
 * that both ends cost the same whatever the queue's length. An item's payload has its kind in the first byte. */
#include "shared/store.h"

#include <string.h>

typedef struct {
  uint64_t id, first, next; /* items first … next - 1 */
} queue_t;

enum { ITEM_KEY = 17 };

static MDB_val item_key(unsigned char out[ITEM_KEY], uint64_t id, uint64_t number) {
  out[0] = STORE_ITEM;
  for (int i = 8; i > 0; i--, id >>= 8) out[i] = (unsigned char)id;
  for (int i = 16; i > 8; i--, number >>= 8) out[i] = (unsigned char)number;
  return (MDB_val){ITEM_KEY, out};
}

/* The queue of a key; 0, MDB_NOTFOUND, or STORE_KIND where the key holds something else. */
static int find(store_t *store, MDB_txn *txn, const store_key_t *key, queue_t *queue, double *ends) {
  found_t found;
  int rc = store_find(store, txn, key, &found);
  if (rc != 0) return rc;
  if (found.head.kind != VALUE_QUEUE) return STORE_KIND;
  if (found.len != sizeof *queue) return STORE_DAMAGED;
  memcpy(queue, found.payload, sizeof *queue);
  *ends = found.head.ends;
  return 0;
}

static int put(store_t *store, const store_key_t *key, const queue_t *queue, double ends) {
  unsigned char *payload;
  int rc = store_put(store, key, VALUE_QUEUE, ends, sizeof *queue, &payload);
  if (rc == 0) memcpy(payload, queue, sizeof *queue);
  return rc;
}

int queue_push(store_t *store, const store_key_t *key, value_kind_t kind, const char *payload, size_t len,
               double *length) {
  queue_t queue = {0};
  double ends = 0;
  int rc = find(store, store->writer, key, &queue, &ends);
  if (rc == MDB_NOTFOUND) {
    rc = store_delete(store, key); /* one that has ended */
    if (rc == MDB_NOTFOUND) rc = 0;
    queue = (queue_t){.id = ++store->meta.queues};
    store->meta_changed = true;
  }
  size_t cost = room_cost(ITEM_KEY, 1 + len);
  if (rc == 0) rc = room_make(store, cost, key);
  if (rc != 0) return rc;
  unsigned char bytes[ITEM_KEY];
  MDB_val name = item_key(bytes, queue.id, queue.next), value = {1 + len, NULL};
  rc = mdb_put(store->writer, store->dbi, &name, &value, MDB_RESERVE);
  if (rc != 0) return rc;
  *(unsigned char *)value.mv_data = (unsigned char)kind;
  memcpy((unsigned char *)value.mv_data + 1, payload, len);
  store->meta.used += cost;
  store->meta_changed = true;
  queue.next++;
  *length = (double)(queue.next - queue.first);
  return put(store, key, &queue, ends);
}

int queue_first(store_t *store, const store_key_t *key, found_t *item) {
  queue_t queue;
  double ends;
  int rc = find(store, store->writer, key, &queue, &ends);
  if (rc != 0) return rc;
  unsigned char bytes[ITEM_KEY];
  MDB_val name = item_key(bytes, queue.id, queue.first), value;
  rc = mdb_get(store->writer, store->dbi, &name, &value);
  if (rc != 0 || value.mv_size < 1) return STORE_DAMAGED;
  item->head.kind = *(const unsigned char *)value.mv_data;
  item->len = value.mv_size - 1;
  item->payload = (const unsigned char *)value.mv_data + 1;
  return 0;
}

int queue_shift(store_t *store, const store_key_t *key) {
  queue_t queue;
  double ends;
  int rc = find(store, store->writer, key, &queue, &ends);
  if (rc != 0) return rc;
  unsigned char bytes[ITEM_KEY];
  MDB_val name = item_key(bytes, queue.id, queue.first), value;
  rc = mdb_get(store->writer, store->dbi, &name, &value);
  if (rc != 0) return rc;
  size_t cost = room_cost(ITEM_KEY, value.mv_size);
  rc = mdb_del(store->writer, store->dbi, &name, NULL);
  if (rc != 0) return rc;
  store->meta.used -= cost;
  store->meta_changed = true;
  if (++queue.first == queue.next) return store_delete(store, key);
  return put(store, key, &queue, ends);
}

int queue_length(store_t *store, const store_key_t *key, double *length) {
  queue_t queue;
  double ends;
  int rc = find(store, store->reader, key, &queue, &ends);
  if (rc == 0) *length = (double)(queue.next - queue.first);
  return rc;
}

int queue_drop(store_t *store, const found_t *found) {
  queue_t queue;
  if (found->len != sizeof queue) return STORE_DAMAGED;
  memcpy(&queue, found->payload, sizeof queue);
  for (; queue.first < queue.next; queue.first++) {
    unsigned char bytes[ITEM_KEY];
    MDB_val name = item_key(bytes, queue.id, queue.first), value;
    int rc = mdb_get(store->writer, store->dbi, &name, &value);
    if (rc == MDB_NOTFOUND) continue;
    if (rc == 0) store->meta.used -= room_cost(ITEM_KEY, value.mv_size);
    if (rc == 0) rc = mdb_del(store->writer, store->dbi, &name, NULL);
    if (rc != 0) return rc;
  }
  return 0;
}
