/* zlib/coder.h: one direction of one compression format, as a transformer of bytes: no loop, no Lua.
 *
 * A coder takes input and room for output, and says what it needs next; whoever drives it owns both. Behind it stand
 * zlib (linked), and brotli and zstd, whose libraries are opened when they are first asked for. */
#ifndef LRUN_ZLIB_CODER_H
#define LRUN_ZLIB_CODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
  CODER_GZIP,
  CODER_GUNZIP,
  CODER_DEFLATE,
  CODER_INFLATE,
  CODER_DEFLATE_RAW,
  CODER_INFLATE_RAW,
  CODER_UNZIP,
  CODER_BROTLI,
  CODER_UNBROTLI,
  CODER_ZSTD,
  CODER_UNZSTD
} coder_format_t;

/* What a coder says. */
typedef enum {
  CODER_FAILED = -1, /* see `fault` */
  CODER_FULL,        /* the room is full: come again */
  CODER_HUNGRY,      /* all input was taken */
  CODER_ENDED        /* nothing more comes out, whatever goes in */
} coder_state_t;

typedef struct {
  const char *code; /* as Node names it; static */
  int number;
  char message[160];
} coder_fault_t;

typedef struct {
  int level, window_bits, mem_level, strategy; /* of zlib */
  const unsigned char *dictionary;             /* NULL for none; used while the coder lives */
  size_t dictionary_len;
  int params[16][2]; /* of brotli and zstd: name, value */
  int param_count;
} coder_options_t;

typedef struct coder coder_t;

typedef struct {
  /* `in` and `out` move on by what was taken and written. `flush` is the format's own number. */
  coder_state_t (*run)(coder_t *coder, const unsigned char **in, size_t *in_len, unsigned char **out,
                       size_t *out_len, int flush);
  void (*reset)(coder_t *coder);
  void (*close)(coder_t *coder);
  /* Whether what was read may end here. */
  bool (*is_whole)(const coder_t *coder);
} coder_kind_t;

struct coder {
  const coder_kind_t *kind;
  coder_options_t options;
  coder_fault_t fault;
  void *state; /* the kind's */
};

/* 0; or -1, and `fault` says why. */
int coder_open(coder_t *coder, coder_format_t format, const coder_options_t *options);
/* Safe to repeat. */
void coder_close(coder_t *coder);
coder_state_t coder_fail(coder_t *coder, const char *code, int number, const char *message);

/* zlib/deflate.c, zlib/brotli.c, zlib/zstd.c */
int deflate_open(coder_t *coder, coder_format_t format);
int deflate_params(coder_t *coder, int level, int strategy);
int brotli_open(coder_t *coder, coder_format_t format);
int zstd_open(coder_t *coder, coder_format_t format);

#endif
