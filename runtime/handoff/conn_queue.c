/* handoff/conn_queue.c: a growing ring of accepted connections. It owns their descriptors while they are in it. */
#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "handoff/handoff.h"

static int grow(conn_queue_t *queue) {
  uint32_t size = queue->size ? queue->size * 2 : 64;
  conn_t *items = malloc(size * sizeof *items);
  if (!items) return UV_ENOMEM;
  for (uint32_t i = 0; i < queue->count; i++) items[i] = *conn_queue_at(queue, i);
  free(queue->items);
  queue->items = items;
  queue->head = 0;
  queue->size = size;
  return 0;
}

int conn_queue_push(conn_queue_t *queue, conn_t conn) {
  if (queue->count == queue->size) {
    int rc = grow(queue);
    if (rc < 0) return rc;
  }
  queue->items[(queue->head + queue->count++) & (queue->size - 1)] = conn;
  return 0;
}

conn_t *conn_queue_at(const conn_queue_t *queue, uint32_t index) {
  assert(index < queue->count);
  return &queue->items[(queue->head + index) & (queue->size - 1)];
}

conn_t conn_queue_shift(conn_queue_t *queue) {
  conn_t conn = *conn_queue_at(queue, 0);
  queue->head = (queue->head + 1) & (queue->size - 1);
  queue->count--;
  return conn;
}

void conn_queue_free(conn_queue_t *queue) {
  while (queue->count > 0) conn_done(conn_queue_shift(queue));
  free(queue->items);
  *queue = (conn_queue_t){0};
}

void conn_done(conn_t conn) {
  close(conn.fd);
  acceptor_conn_done(conn.from);
}
