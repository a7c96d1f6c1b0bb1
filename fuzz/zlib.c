/* fuzz/zlib.c: every decoder reads anything without harm, in pieces of any size, and says the same of it. */
#include "zlib/coder.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST = 1 << 20 };

/* How much comes out, and the state in the end, when `piece` bytes go in at a time and `room` come out. */
static coder_state_t decode(coder_format_t format, const uint8_t *data, size_t size, size_t piece,
                            size_t room, size_t *given) {
  coder_options_t options = {.level = 6, .window_bits = 15, .mem_level = 8};
  coder_t coder;
  *given = 0;
  if (coder_open(&coder, format, &options) < 0) return CODER_FAILED;
  coder_state_t state = CODER_HUNGRY;
  unsigned char *space = malloc(room);
  for (size_t at = 0; state == CODER_FULL || (state == CODER_HUNGRY && at < size);) {
    size_t len = size - at < piece ? size - at : piece, before = len, left = room;
    const unsigned char *in = data + at;
    unsigned char *out = space;
    state = coder.kind->run(&coder, &in, &len, &out, &left, 0);
    assert(len <= before && left <= room);
    at += before - len;
    *given += room - left;
    if (*given > MOST) break;
    if (state == CODER_HUNGRY) assert(len == 0);
  }
  free(space);
  coder_close(&coder);
  return state;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const coder_format_t formats[] = {CODER_GUNZIP, CODER_INFLATE,  CODER_INFLATE_RAW,
                                           CODER_UNZIP,  CODER_UNBROTLI, CODER_UNZSTD};
  if (size < 3) return 0;
  size_t piece = (size_t)data[1] + 1, room = (size_t)data[2] + 64, whole, pieces;
  coder_format_t format = formats[data[0] % (sizeof formats / sizeof *formats)];
  coder_state_t a = decode(format, data + 3, size - 3, size, MOST, &whole);
  coder_state_t b = decode(format, data + 3, size - 3, piece, room, &pieces);
  if (whole > MOST || pieces > MOST) return 0;
  assert((a == CODER_FAILED) == (b == CODER_FAILED));
  if (a != CODER_FAILED) assert(whole == pieces);
  return 0;
}
