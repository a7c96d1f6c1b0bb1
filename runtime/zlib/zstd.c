/* zlib/zstd.c: Zstandard, by libzstd, opened when it is first needed. What is declared here is its interface since
 * version 1.4. */
#include "zlib/coder.h"

#include <dlfcn.h>
#include <stdlib.h>

typedef struct {
  const void *src;
  size_t size, pos;
} in_buffer_t;
typedef struct {
  void *dst;
  size_t size, pos;
} out_buffer_t;

static struct {
  void *(*new_compressor)(void);
  size_t (*free_compressor)(void *c);
  size_t (*set_compressor)(void *c, int name, int value);
  size_t (*reset_compressor)(void *c, int what);
  size_t (*compress)(void *c, out_buffer_t *out, in_buffer_t *in, int operation);
  void *(*new_decompressor)(void);
  size_t (*free_decompressor)(void *d);
  size_t (*set_decompressor)(void *d, int name, int value);
  size_t (*reset_decompressor)(void *d, int what);
  size_t (*decompress)(void *d, out_buffer_t *out, in_buffer_t *in);
  unsigned (*is_error)(size_t code);
  const char *(*error_name)(size_t code);
} zstd;

enum { RESET_SESSION = 1 };

static bool take(void *library, const char *name, void *slot) {
  void *symbol = library ? dlsym(library, name) : NULL;
  *(void **)slot = symbol;
  return symbol != NULL;
}

static bool open_library(void) {
  if (zstd.error_name) return true;
  void *library = dlopen("libzstd.so.1", RTLD_NOW | RTLD_LOCAL);
  return take(library, "ZSTD_createCCtx", &zstd.new_compressor) &&
         take(library, "ZSTD_freeCCtx", &zstd.free_compressor) &&
         take(library, "ZSTD_CCtx_setParameter", &zstd.set_compressor) &&
         take(library, "ZSTD_CCtx_reset", &zstd.reset_compressor) &&
         take(library, "ZSTD_compressStream2", &zstd.compress) &&
         take(library, "ZSTD_createDCtx", &zstd.new_decompressor) &&
         take(library, "ZSTD_freeDCtx", &zstd.free_decompressor) &&
         take(library, "ZSTD_DCtx_setParameter", &zstd.set_decompressor) &&
         take(library, "ZSTD_DCtx_reset", &zstd.reset_decompressor) &&
         take(library, "ZSTD_decompressStream", &zstd.decompress) &&
         take(library, "ZSTD_isError", &zstd.is_error) &&
         take(library, "ZSTD_getErrorName", &zstd.error_name);
}

typedef struct {
  void *context;
  bool compresses;
  bool ended;   /* compressor: the frame is written */
  bool between; /* decompressor: a frame has ended */
} state_t;

static coder_state_t encode(coder_t *coder, const unsigned char **in, size_t *in_len, unsigned char **out,
                            size_t *out_len, int flush) {
  enum { FLUSH = 1, END = 2 };
  state_t *state = coder->state;
  if (state->ended) return CODER_ENDED;
  in_buffer_t input = {*in, *in_len, 0};
  out_buffer_t output = {*out, *out_len, 0};
  size_t left = zstd.compress(state->context, &output, &input, flush);
  *in += input.pos;
  *in_len -= input.pos;
  *out += output.pos;
  *out_len -= output.pos;
  if (zstd.is_error(left)) return coder_fail(coder, "ERR_ZSTD_COMPRESSION_FAILED", -1, zstd.error_name(left));
  if (*in_len > 0 || (flush >= FLUSH && left > 0)) return CODER_FULL;
  if (flush == END) return state->ended = true, CODER_ENDED;
  return CODER_HUNGRY;
}

static coder_state_t decode(coder_t *coder, const unsigned char **in, size_t *in_len, unsigned char **out,
                            size_t *out_len, int flush) {
  (void)flush;
  state_t *state = coder->state;
  in_buffer_t input = {*in, *in_len, 0};
  out_buffer_t output = {*out, *out_len, 0};
  if (input.size > 0 || !state->between) {
    size_t rc = zstd.decompress(state->context, &output, &input);
    if (zstd.is_error(rc)) return coder_fail(coder, "ERR_ZSTD_DECOMPRESSION_FAILED", -1, zstd.error_name(rc));
    state->between = rc == 0;
  }
  *in += input.pos;
  *in_len -= input.pos;
  *out += output.pos;
  *out_len -= output.pos;
  return *in_len > 0 || *out_len == 0 ? CODER_FULL : CODER_HUNGRY;
}

static int set_params(coder_t *coder) {
  state_t *state = coder->state;
  for (int i = 0; i < coder->options.param_count; i++) {
    const int *param = coder->options.params[i];
    size_t rc = state->compresses ? zstd.set_compressor(state->context, param[0], param[1])
                                  : zstd.set_decompressor(state->context, param[0], param[1]);
    if (zstd.is_error(rc)) return -1;
  }
  return 0;
}

static void reset(coder_t *coder) {
  state_t *state = coder->state;
  state->ended = state->between = false;
  if (state->compresses) zstd.reset_compressor(state->context, RESET_SESSION);
  else zstd.reset_decompressor(state->context, RESET_SESSION);
}

static void close_state(coder_t *coder) {
  state_t *state = coder->state;
  if (state->context && state->compresses) zstd.free_compressor(state->context);
  else if (state->context) zstd.free_decompressor(state->context);
  free(state);
}

static bool is_whole(const coder_t *coder) {
  const state_t *state = coder->state;
  return state->ended || state->between;
}

int zstd_open(coder_t *coder, coder_format_t format) {
  static const coder_kind_t encoder = {encode, reset, close_state, is_whole};
  static const coder_kind_t decoder = {decode, reset, close_state, is_whole};
  bool compress = format == CODER_ZSTD;
  if (!open_library())
    return (int)coder_fail(coder, "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM", -1,
                           "zstd needs the package libzstd1");
  state_t *state = calloc(1, sizeof *state);
  if (state == NULL) return (int)coder_fail(coder, "Z_MEM_ERROR", -4, "insufficient memory");
  coder->state = state;
  coder->kind = compress ? &encoder : &decoder;
  state->compresses = compress;
  state->context = compress ? zstd.new_compressor() : zstd.new_decompressor();
  if (state->context && set_params(coder) == 0) return 0;
  coder_fail(coder, "ERR_ZSTD_INVALID_PARAM", -1, "one of options.params is not valid");
  coder_close(coder);
  return -1;
}
