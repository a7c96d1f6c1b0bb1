/* zlib/deflate.c: gzip, zlib and raw deflate, by zlib.
 *
 * zlib ends with a member of gzip; what follows is looked at here: zeros are padding, another member is read, anything
 * else is an error. */
#include "zlib/coder.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { GZIP_WINDOW = 16, GZIP_MAGIC = 0x1f };

typedef struct {
  z_stream z;
  coder_format_t format; /* CODER_UNZIP until the first byte tells */
  bool opened;
  bool between; /* gunzip: behind a member */
  bool ended;
} deflate_t;

static bool compresses(coder_format_t format) {
  return format == CODER_GZIP || format == CODER_DEFLATE || format == CODER_DEFLATE_RAW;
}

static const char *name_of(int rc) {
  switch (rc) {
  case Z_NEED_DICT: return "Z_NEED_DICT";
  case Z_STREAM_ERROR: return "Z_STREAM_ERROR";
  case Z_DATA_ERROR: return "Z_DATA_ERROR";
  case Z_MEM_ERROR: return "Z_MEM_ERROR";
  case Z_VERSION_ERROR: return "Z_VERSION_ERROR";
  default: return "Z_BUF_ERROR";
  }
}

static coder_state_t fail(coder_t *coder, int rc, const char *message) {
  const deflate_t *d = coder->state;
  return coder_fail(coder, name_of(rc), rc, message ? message : d->z.msg ? d->z.msg : zError(rc));
}

static int window_of(const deflate_t *d, int bits) {
  switch (d->format) {
  case CODER_GZIP:
  case CODER_GUNZIP: return bits + GZIP_WINDOW;
  case CODER_DEFLATE_RAW: return bits == 8 ? -9 : -bits; /* zlib cannot write raw blocks for 256 bytes */
  case CODER_INFLATE_RAW: return -bits;
  default: return bits;
  }
}

static int set_dictionary(coder_t *coder) {
  deflate_t *d = coder->state;
  const coder_options_t *o = &coder->options;
  if (o->dictionary == NULL) return Z_OK;
  if (d->format == CODER_DEFLATE || d->format == CODER_DEFLATE_RAW)
    return deflateSetDictionary(&d->z, o->dictionary, (uInt)o->dictionary_len);
  if (d->format == CODER_INFLATE_RAW)
    return inflateSetDictionary(&d->z, o->dictionary, (uInt)o->dictionary_len);
  return Z_OK;
}

static int start(coder_t *coder) {
  deflate_t *d = coder->state;
  const coder_options_t *o = &coder->options;
  int window = window_of(d, o->window_bits);
  int rc = compresses(d->format)
               ? deflateInit2(&d->z, o->level, Z_DEFLATED, window, o->mem_level, o->strategy)
               : inflateInit2(&d->z, window);
  if (rc != Z_OK) return rc;
  d->opened = true;
  return set_dictionary(coder);
}

/* What comes between two members of gzip; false when there is nothing more to look at. */
static bool next_member(deflate_t *d, int *rc) {
  while (d->z.avail_in > 0 && *d->z.next_in == 0) d->z.next_in++, d->z.avail_in--;
  if (d->z.avail_in == 0) return false;
  if (*d->z.next_in != GZIP_MAGIC) {
    d->z.msg = "bytes that are no gzip follow the end";
    *rc = Z_DATA_ERROR;
    return false;
  }
  *rc = inflateReset(&d->z);
  d->between = false;
  return *rc == Z_OK;
}

static int inflate_once(coder_t *coder, int flush) {
  deflate_t *d = coder->state;
  const coder_options_t *o = &coder->options;
  int rc = inflate(&d->z, flush);
  if (rc != Z_NEED_DICT || o->dictionary == NULL) return rc;
  rc = inflateSetDictionary(&d->z, o->dictionary, (uInt)o->dictionary_len);
  return rc == Z_OK ? inflate(&d->z, flush) : rc == Z_DATA_ERROR ? Z_NEED_DICT : rc;
}

static coder_state_t inflate_run(coder_t *coder, int flush) {
  deflate_t *d = coder->state;
  for (;;) {
    int rc = Z_OK;
    if (d->between && !next_member(d, &rc)) return rc == Z_OK ? CODER_HUNGRY : fail(coder, rc, NULL);
    rc = inflate_once(coder, flush);
    if (rc == Z_STREAM_END && d->format == CODER_GUNZIP) {
      d->between = true;
      continue;
    }
    if (rc == Z_STREAM_END) {
      d->ended = true;
      return CODER_ENDED;
    }
    if (rc == Z_NEED_DICT)
      return fail(coder, rc, coder->options.dictionary ? "Bad dictionary" : "Missing dictionary");
    if (rc != Z_OK && rc != Z_BUF_ERROR) return fail(coder, rc, NULL);
    return d->z.avail_out == 0 ? CODER_FULL : CODER_HUNGRY;
  }
}

static coder_state_t deflate_run(coder_t *coder, int flush) {
  deflate_t *d = coder->state;
  int rc = deflate(&d->z, flush);
  if (rc == Z_STREAM_END) {
    d->ended = true;
    return CODER_ENDED;
  }
  if (rc != Z_OK && rc != Z_BUF_ERROR) return fail(coder, rc, NULL);
  return d->z.avail_out == 0 ? CODER_FULL : CODER_HUNGRY;
}

/* The first byte tells gzip from zlib. */
static int open_unzip(coder_t *coder, unsigned char first) {
  deflate_t *d = coder->state;
  d->format = first == GZIP_MAGIC ? CODER_GUNZIP : CODER_INFLATE;
  return start(coder);
}

static uInt bounded(size_t len) { return len > UINT32_MAX ? UINT32_MAX : (uInt)len; }

static coder_state_t run(coder_t *coder, const unsigned char **in, size_t *in_len, unsigned char **out,
                         size_t *out_len, int flush) {
  deflate_t *d = coder->state;
  if (d->ended) return CODER_ENDED;
  if (d->format == CODER_UNZIP) {
    if (*in_len == 0) return CODER_HUNGRY;
    int rc = open_unzip(coder, **in);
    if (rc != Z_OK) return fail(coder, rc, NULL);
  }
  d->z.next_in = (Bytef *)*in;
  d->z.avail_in = bounded(*in_len);
  d->z.next_out = *out;
  d->z.avail_out = bounded(*out_len);
  coder_state_t state = compresses(d->format) ? deflate_run(coder, flush) : inflate_run(coder, flush);
  *in_len -= (size_t)(d->z.next_in - *in);
  *in = d->z.next_in;
  *out_len -= (size_t)(d->z.next_out - *out);
  *out = d->z.next_out;
  return state;
}

static void reset(coder_t *coder) {
  deflate_t *d = coder->state;
  d->ended = d->between = false;
  if (!d->opened) return;
  if (compresses(d->format)) deflateReset(&d->z);
  else inflateReset(&d->z);
  set_dictionary(coder);
}

static void stop(coder_t *coder) {
  deflate_t *d = coder->state;
  if (d->opened && compresses(d->format)) deflateEnd(&d->z);
  else if (d->opened) inflateEnd(&d->z);
  free(d);
}

static bool is_whole(const coder_t *coder) {
  const deflate_t *d = coder->state;
  return d->ended || d->between;
}

int deflate_params(coder_t *coder, int level, int strategy) {
  deflate_t *d = coder->state;
  unsigned char none = 0;
  coder->options.level = level;
  coder->options.strategy = strategy;
  d->z.next_in = &none;
  d->z.avail_in = 0;
  d->z.next_out = &none;
  d->z.avail_out = 0;
  int rc = deflateParams(&d->z, level, strategy);
  return rc == Z_OK || rc == Z_BUF_ERROR ? 0 : -1;
}

int deflate_open(coder_t *coder, coder_format_t format) {
  static const coder_kind_t kind = {run, reset, stop, is_whole};
  deflate_t *d = calloc(1, sizeof *d);
  if (d == NULL) return (int)coder_fail(coder, "Z_MEM_ERROR", Z_MEM_ERROR, "insufficient memory");
  coder->state = d;
  coder->kind = &kind;
  d->format = format;
  int rc = format == CODER_UNZIP ? Z_OK : start(coder);
  if (rc == Z_OK) return 0;
  fail(coder, rc, rc == Z_DATA_ERROR || rc == Z_STREAM_ERROR ? "Init error" : NULL);
  coder_close(coder);
  return -1;
}
