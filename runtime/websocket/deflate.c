/* websocket/deflate.c: see websocket/deflate.h. */
#include "websocket/deflate.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include <zlib.h>

enum {
  STEP = 16 * 1024, /* room for output is made in these steps */
  AT_REST = 8,      /* inflaters that are kept for later messages */
  LEAST_WINDOW =
      9, /* zlib's least for a raw stream. What it writes with that reaches back 250 bytes: 8 bits do */
  AT_BLOCK = 128, /* z_stream.data_type: between two blocks */
  BITS_LEFT = 63  /* and bits of the last byte that were not used */
};

static const char tail[4] = {0, 0, (char)0xff,
                             (char)0xff}; /* what a flush ends with, and a message leaves out */

static int window_bits(uint8_t window) { return -(window < LEAST_WINDOW ? LEAST_WINDOW : window); }

static uint8_t *bytes(const char *data) { return (uint8_t *)data; }

/* Inflating ------------------------------------------------------------------------------------------- */

struct ws_inflater {
  z_stream z;
  SLIST_ENTRY(ws_inflater) link; /* at rest */
};

static ws_inflater_t *inflater_new(uint8_t window) {
  ws_inflater_t *inflater = calloc(1, sizeof *inflater);
  if (inflater == NULL) return NULL;
  if (inflateInit2(&inflater->z, window_bits(window)) == Z_OK) return inflater;
  free(inflater);
  return NULL;
}

ws_inflater_t *ws_inflater_take(ws_inflaters_t *all, uint8_t window) {
  ws_inflater_t *inflater = SLIST_FIRST(&all->list);
  if (inflater == NULL) return inflater_new(window);
  SLIST_REMOVE_HEAD(&all->list, link);
  all->count--;
  if (inflateReset2(&inflater->z, window_bits(window)) == Z_OK) return inflater;
  ws_inflater_free(inflater);
  return inflater_new(window);
}

void ws_inflater_give(ws_inflaters_t *all, ws_inflater_t *inflater) {
  if (all->count >= AT_REST) {
    ws_inflater_free(inflater);
    return;
  }
  SLIST_INSERT_HEAD(&all->list, inflater, link);
  all->count++;
}

void ws_inflater_free(ws_inflater_t *inflater) {
  inflateEnd(&inflater->z);
  free(inflater);
}

void ws_inflaters_free(ws_inflaters_t *all) {
  ws_inflater_t *inflater;
  while ((inflater = SLIST_FIRST(&all->list))) {
    SLIST_REMOVE_HEAD(&all->list, link);
    ws_inflater_free(inflater);
  }
  all->count = 0;
}

/* Whether zlib wants to go on: with the rest of the input, or with room for what it has. */
static int step(z_stream *z, buffer_t *out, uint64_t limit, bool *ended) {
  char *to = buffer_room(out, out->len < STEP ? STEP / 4 : STEP);
  if (to == NULL) return UV_ENOMEM;
  size_t room = out->cap - out->len;
  if (limit - out->len < room)
    room = (size_t)(limit - out->len) + 1; /* one byte more tells that there are more */
  z->next_out = bytes(to);
  z->avail_out = room < UINT32_MAX ? (uInt)room : UINT32_MAX;
  uInt before = z->avail_out;
  int rc = inflate(z, Z_SYNC_FLUSH);
  out->len += before - z->avail_out;
  if (out->len > limit) return UV_E2BIG;
  if (rc == Z_MEM_ERROR) return UV_ENOMEM;
  if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR) return UV_EPROTO;
  *ended = rc == Z_STREAM_END;
  if (*ended) inflateResetKeep(z); /* further blocks may follow, and refer to these */
  return z->avail_in > 0 || z->avail_out == 0;
}

static int run(z_stream *z, const char *data, size_t len, buffer_t *out, uint64_t limit, bool *ended) {
  z->next_in = bytes(data);
  z->avail_in = (uInt)len;
  int rc = 1;
  while (rc > 0) {
    uInt left = z->avail_in;
    size_t before = out->len;
    rc = step(z, out, limit, ended);
    if (rc > 0 && left == z->avail_in && before == out->len && !*ended) rc = UV_EPROTO; /* no way on */
  }
  return rc;
}

int ws_inflate(ws_inflater_t *inflater, const char *data, size_t len, bool last, buffer_t *out,
               uint64_t limit) {
  z_stream *z = &inflater->z;
  bool ended = false;
  int rc = len > 0 ? run(z, data, len, out, limit, &ended) : 0;
  if (rc < 0 || !last || ended) return rc;
  rc = run(z, tail, sizeof tail, out, limit, &ended);
  if (rc < 0) return rc;
  return (z->data_type & AT_BLOCK) != 0 && (z->data_type & BITS_LEFT) == 0 ? 0 : UV_EPROTO;
}

/* Compressing ----------------------------------------------------------------------------------------- */

struct ws_deflater {
  z_stream z;
  uint8_t window;
  ws_effort_t effort;
  bool used;
  SLIST_ENTRY(ws_deflater) link; /* of those that are shared */
};

ws_deflater_t *ws_deflater_new(uint8_t window, ws_effort_t effort) {
  ws_deflater_t *deflater = calloc(1, sizeof *deflater);
  if (deflater == NULL) return NULL;
  deflater->window = window;
  deflater->effort = effort;
  if (deflateInit2(&deflater->z, effort.level, Z_DEFLATED, window_bits(window), effort.mem_level,
                   Z_DEFAULT_STRATEGY) == Z_OK)
    return deflater;
  free(deflater);
  return NULL;
}

void ws_deflater_free(ws_deflater_t *deflater) {
  if (deflater == NULL) return;
  deflateEnd(&deflater->z);
  free(deflater);
}

int ws_deflate(ws_deflater_t *deflater, const char *data, size_t len, bool anew, bool last, buffer_t *out) {
  z_stream *z = &deflater->z;
  if (anew && deflater->used) deflateReset(z);
  deflater->used = true;
  size_t begin = out->len;
  z->next_in = bytes(data);
  do {
    z->avail_in =
        len < UINT32_MAX / 2 ? (uInt)len : UINT32_MAX / 2; /* a string may be longer than zlib can take */
    len -= z->avail_in;
    do {
      char *to = buffer_room(out, z->avail_in / 2 + 64);
      if (to == NULL) return UV_ENOMEM;
      size_t room = out->cap - out->len;
      z->next_out = bytes(to);
      z->avail_out = room < UINT32_MAX ? (uInt)room : UINT32_MAX;
      uInt before = z->avail_out;
      deflate(z, Z_SYNC_FLUSH);
      out->len += before - z->avail_out;
    } while (z->avail_out == 0);
  } while (len > 0);
  size_t made = out->len - begin;
  if (made == 0 && last) return buffer_add(out, "", 1); /* an empty block */
  if (last && made >= sizeof tail) out->len -= sizeof tail;
  return 0;
}

ws_deflater_t *ws_deflaters_find(ws_deflaters_t *all, uint8_t window, ws_effort_t effort) {
  ws_deflater_t *d;
  SLIST_FOREACH(d, &all->list, link) {
    if (d->window == window && d->effort.level == effort.level && d->effort.mem_level == effort.mem_level)
      return d;
  }
  ws_deflater_t *made = ws_deflater_new(window, effort);
  if (made == NULL) return NULL;
  SLIST_INSERT_HEAD(&all->list, made, link);
  return made;
}

void ws_deflaters_free(ws_deflaters_t *all) {
  ws_deflater_t *deflater;
  while ((deflater = SLIST_FIRST(&all->list))) {
    SLIST_REMOVE_HEAD(&all->list, link);
    ws_deflater_free(deflater);
  }
}
