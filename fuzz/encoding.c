/* fuzz/encoding.c: what decodes is the same after encoding and decoding again; nothing is written past the
 * room; a URL's parts are parts of it. */
#include "encoding/encoding.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void base64(const uint8_t *data, size_t size) {
  size_t written = 0, again = 0;
  char *bytes = malloc(size / 4 * 3 + 3);
  if (base64_decode(bytes, &written, data, size) == 0) {
    for (int for_url = 0; for_url < 2; for_url++) {
      char *text = malloc((written + 2) / 3 * 4 + 1), *back = malloc(written + 3);
      size_t length = base64_encode(text, (unsigned char *)bytes, written, for_url);
      assert(base64_decode(back, &again, (unsigned char *)text, length) == 0);
      assert(again == written && memcmp(bytes, back, written) == 0);
      free(text);
      free(back);
    }
  }
  free(bytes);
}

static void hex(const uint8_t *data, size_t size) {
  char *text = malloc(2 * size + 1), *back = malloc(size + 1);
  assert(hex_decode(back, (unsigned char *)text, hex_encode(text, data, size)) == 0);
  assert(memcmp(back, data, size) == 0);
  size_t wrong = hex_decode(back, data, size);
  assert(wrong <= size);
  free(text);
  free(back);
}

static void percent(const uint8_t *data, size_t size) {
  static const percent_set_t plain = {{0, 0x03ff0000, 0x07fffffe, 0x07fffffe, 0, 0, 0, 0}};
  char *text = malloc(3 * size + 1), *back = malloc(3 * size + 1);
  size_t length = percent_encode(text, data, size, &plain);
  assert(percent_decode(back, (unsigned char *)text, length, true) == size && memcmp(back, data, size) == 0);
  assert(percent_decode(back, data, size, true) <= size);
  free(text);
  free(back);
}

static void inside(url_piece_t piece, const uint8_t *data, size_t size) {
  if (piece.at) assert(piece.at >= data && piece.length <= size && piece.at + piece.length <= data + size);
}

/* Parts lie in the text. */
static void url(const uint8_t *data, size_t size) {
  static const percent_set_t plain = {{0, 0x57fffffa, 0xaffffffe, 0x57fffffe, 0, 0, 0, 0}};
  static const url_sets_t sets = {&plain, &plain, &plain, &plain};
  url_parts_t parts;
  bool whole = url_parts(&parts, data, size, &sets);
  if (whole) {
    assert(parts.host.length > 0 && parts.port >= -1 && parts.port <= 65535);
    inside(parts.host, data, size);
    inside(parts.username, data, size);
    inside(parts.password, data, size);
  }
  if (!whole && !url_place(&parts, data, size, &sets)) return;
  assert(parts.path.at);
  inside(parts.path, data, size);
  inside(parts.query, data, size);
  inside(parts.fragment, data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  base64(data, size);
  hex(data, size);
  percent(data, size);
  url(data, size);
  return 0;
}
