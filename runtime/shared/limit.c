/* shared/limit.c: at most n events in any window of time. The entry of a limit holds the times of its last n events, a ring, so
 * the answer is exact: an event is allowed when the one n before it is a window old. The entry ends with its newest event. */
#include "shared/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  uint32_t capacity, count, newest; /* newest: where the next time goes */
  uint32_t spare;
} ring_t;

/* The times of an entry that are younger than `since`, oldest first; NULL without memory. */
static double *read_times(const found_t *found, double since, uint32_t *count) {
  ring_t ring;
  *count = 0;
  if (found->len < sizeof ring) return calloc(1, sizeof(double));
  memcpy(&ring, found->payload, sizeof ring);
  if (ring.capacity == 0 || ring.count > ring.capacity || ring.newest >= ring.capacity ||
      found->len != sizeof ring + ring.capacity * sizeof(double))
    return calloc(1, sizeof(double));
  double *times = malloc((ring.count + 1) * sizeof *times);
  if (times == NULL) return NULL;
  for (uint32_t i = 0; i < ring.count; i++) {
    uint32_t at = (ring.newest + ring.capacity - ring.count + i) % ring.capacity;
    double time;
    memcpy(&time, found->payload + sizeof ring + at * sizeof time, sizeof time);
    if (time > since) times[(*count)++] = time;
  }
  return times;
}

static int write_times(store_t *store, const store_key_t *key, uint32_t n, const double *times,
                       uint32_t count, double ends) {
  ring_t ring = {.capacity = n, .count = count, .newest = count == n ? 0 : count};
  unsigned char *payload;
  int rc = store_put(store, key, VALUE_LIMIT, ends, sizeof ring + n * sizeof *times, &payload);
  if (rc != 0) return rc;
  memcpy(payload, &ring, sizeof ring);
  memset(payload + sizeof ring, 0, n * sizeof *times);
  memcpy(payload + sizeof ring, times, count * sizeof *times);
  return 0;
}

int limit_count(store_t *store, const store_key_t *key, uint32_t n, double window, limit_result_t *result) {
  found_t found = {0};
  double now = store_now(store);
  int rc = store_find(store, store->writer, key, &found);
  if (rc == 0 && found.head.kind != VALUE_LIMIT) return STORE_KIND;
  if (rc != 0 && rc != MDB_NOTFOUND) return rc;
  if (rc == MDB_NOTFOUND) found = (found_t){0}; /* one that has ended may be of any kind */
  uint32_t count;
  double *times = read_times(&found, now - window, &count);
  if (times == NULL) return ENOMEM;
  *result = (limit_result_t){.allowed = count < n};
  if (result->allowed) {
    times[count++] = now;
    result->left = n - count;
    rc = write_times(store, key, n, times, count, now + window);
  } else {
    result->retry_after = n == 0 ? window : times[count - n] + window - now;
    rc = 0;
  }
  free(times);
  return rc;
}
