/* zlib/brotli.c: brotli, by libbrotlienc and libbrotlidec, opened when they are first needed. What is declared here is
 * their interface since version 1.0. */
#include "zlib/coder.h"

#include <dlfcn.h>
#include <stdlib.h>

typedef struct encoder encoder_t;
typedef struct decoder decoder_t;

static struct {
  encoder_t *(*encoder)(void *alloc, void *release, void *opaque);
  int (*set_encoder)(encoder_t *e, int name, uint32_t value);
  int (*encode)(encoder_t *e, int operation, size_t *in_len, const uint8_t **in, size_t *out_len,
                uint8_t **out, size_t *total);
  int (*has_more)(encoder_t *e);
  int (*is_finished)(encoder_t *e);
  void (*close_encoder)(encoder_t *e);
  decoder_t *(*decoder)(void *alloc, void *release, void *opaque);
  int (*set_decoder)(decoder_t *d, int name, uint32_t value);
  int (*decode)(decoder_t *d, size_t *in_len, const uint8_t **in, size_t *out_len, uint8_t **out,
                size_t *total);
  int (*holds_more)(const decoder_t *d);
  int (*decoder_error)(const decoder_t *d);
  void (*close_decoder)(decoder_t *d);
} brotli;

static bool take(void *library, const char *name, void *slot) {
  void *symbol = library ? dlsym(library, name) : NULL;
  *(void **)slot = symbol;
  return symbol != NULL;
}

static bool open_library(bool compress) {
  if (compress ? brotli.encode != NULL : brotli.decode != NULL) return true;
  void *library = dlopen(compress ? "libbrotlienc.so.1" : "libbrotlidec.so.1", RTLD_NOW | RTLD_LOCAL);
  if (compress)
    return take(library, "BrotliEncoderCreateInstance", &brotli.encoder) &&
           take(library, "BrotliEncoderSetParameter", &brotli.set_encoder) &&
           take(library, "BrotliEncoderHasMoreOutput", &brotli.has_more) &&
           take(library, "BrotliEncoderIsFinished", &brotli.is_finished) &&
           take(library, "BrotliEncoderDestroyInstance", &brotli.close_encoder) &&
           take(library, "BrotliEncoderCompressStream", &brotli.encode);
  return take(library, "BrotliDecoderCreateInstance", &brotli.decoder) &&
         take(library, "BrotliDecoderSetParameter", &brotli.set_decoder) &&
         take(library, "BrotliDecoderHasMoreOutput", &brotli.holds_more) &&
         take(library, "BrotliDecoderGetErrorCode", &brotli.decoder_error) &&
         take(library, "BrotliDecoderDestroyInstance", &brotli.close_decoder) &&
         take(library, "BrotliDecoderDecompressStream", &brotli.decode);
}

typedef struct {
  encoder_t *encoder;
  decoder_t *decoder;
  bool ended;
} state_t;

static int start(coder_t *coder, state_t *state, bool compress) {
  if (compress) state->encoder = brotli.encoder(NULL, NULL, NULL);
  else state->decoder = brotli.decoder(NULL, NULL, NULL);
  if (!state->encoder && !state->decoder) return -1;
  state->ended = false;
  for (int i = 0; i < coder->options.param_count; i++) {
    const int *param = coder->options.params[i];
    int ok = compress ? brotli.set_encoder(state->encoder, param[0], (uint32_t)param[1])
                      : brotli.set_decoder(state->decoder, param[0], (uint32_t)param[1]);
    if (!ok) return -1;
  }
  return 0;
}

static void stop(state_t *state) {
  if (state->encoder) brotli.close_encoder(state->encoder);
  if (state->decoder) brotli.close_decoder(state->decoder);
  state->encoder = NULL;
  state->decoder = NULL;
}

static coder_state_t encode(coder_t *coder, const unsigned char **in, size_t *in_len, unsigned char **out,
                            size_t *out_len, int flush) {
  state_t *state = coder->state;
  if (!brotli.encode(state->encoder, flush, in_len, in, out_len, out, NULL))
    return coder_fail(coder, "ERR_BROTLI_COMPRESSION_FAILED", -1, "Compression failed");
  if (brotli.is_finished(state->encoder)) return state->ended = true, CODER_ENDED;
  return *out_len == 0 || brotli.has_more(state->encoder) ? CODER_FULL : CODER_HUNGRY;
}

static coder_state_t decode(coder_t *coder, const unsigned char **in, size_t *in_len, unsigned char **out,
                            size_t *out_len, int flush) {
  enum { ERROR, SUCCESS, MORE_INPUT, MORE_OUTPUT };
  (void)flush;
  state_t *state = coder->state;
  if (state->ended) return CODER_ENDED;
  switch (brotli.decode(state->decoder, in_len, in, out_len, out, NULL)) {
  case SUCCESS: return state->ended = true, CODER_ENDED;
  case MORE_INPUT: /* it says so although the room was too small for what it has */
    return brotli.holds_more(state->decoder) ? CODER_FULL : CODER_HUNGRY;
  case MORE_OUTPUT: return CODER_FULL;
  default:
    return coder_fail(coder, "ERR_BROTLI_DECODER_ERROR", brotli.decoder_error(state->decoder),
                      "Decompression failed");
  }
}

static void reset_encoder(coder_t *coder) {
  stop(coder->state);
  start(coder, coder->state, true);
}

static void reset_decoder(coder_t *coder) {
  stop(coder->state);
  start(coder, coder->state, false);
}

static void close_state(coder_t *coder) {
  stop(coder->state);
  free(coder->state);
}

static bool is_whole(const coder_t *coder) { return ((const state_t *)coder->state)->ended; }

int brotli_open(coder_t *coder, coder_format_t format) {
  static const coder_kind_t encoder = {encode, reset_encoder, close_state, is_whole};
  static const coder_kind_t decoder = {decode, reset_decoder, close_state, is_whole};
  bool compress = format == CODER_BROTLI;
  if (!open_library(compress))
    return (int)coder_fail(coder, "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM", -1,
                           "brotli needs the package libbrotli1");
  state_t *state = calloc(1, sizeof *state);
  if (state == NULL) return (int)coder_fail(coder, "Z_MEM_ERROR", -4, "insufficient memory");
  coder->state = state;
  coder->kind = compress ? &encoder : &decoder;
  if (start(coder, state, compress) == 0) return 0;
  coder_fail(coder, "ERR_BROTLI_INVALID_PARAM", -1, "one of options.params is not valid");
  coder_close(coder);
  return -1;
}
