/* fuzz/websocket.c: whatever a peer sends as frames is read without harm, in pieces of any size, and says the same: the
 * same messages in the same order, and the same fault; no message is longer than the limit, no text anything but UTF-8.
 *
 * The first byte chooses: the side (1), compression (2), whether its window goes on (4), bytes as they are, or frames made
 * of them that get past the first checks (8). The second one is the size of a piece. */
#include "websocket/mask.h"
#include "websocket/parser.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The whole window: with a smaller one zlib lets what one call has put out be referred to from further away. */
enum { LIMIT = 1 << 16, WINDOW = 15 };

/* What the bytes said, boiled down. */
typedef struct {
  unsigned events;
  uint64_t hash;
  unsigned fault;
} said_t;

static void note(said_t *said, const void *data, size_t len) {
  for (size_t i = 0; i < len; i++) said->hash = (said->hash ^ ((const uint8_t *)data)[i]) * 0x100000001b3;
}

static void check_text(const char *data, size_t len) {
  utf8_t utf8 = {0};
  for (size_t i = 0; i < len; i++) assert(utf8_take(&utf8, data + i, 1));
  assert(utf8_whole(&utf8));
}

static void take_event(ws_event_kind_t kind, const ws_event_t *ev, said_t *said) {
  uint8_t head[3] = {(uint8_t)kind, kind == WS_EV_MESSAGE && ev->binary, 0};
  said->events++;
  note(said, head, sizeof head);
  note(said, ev->data, ev->len);
  if (kind == WS_EV_MESSAGE) assert(ev->len <= LIMIT);
  else assert(ev->len <= WS_CONTROL_MAX);
  if (kind == WS_EV_MESSAGE && !ev->binary) check_text(ev->data, ev->len);
  if (kind == WS_EV_CLOSE) {
    note(said, &ev->status, sizeof ev->status);
    assert(ev->status == WS_NO_STATUS || ws_close_code_valid(ev->status));
    check_text(ev->data, ev->len);
  }
}

static said_t parse(uint8_t choice, const char *data, size_t size, size_t piece) {
  static ws_workshop_t workshop;
  ws_parser_t p;
  said_t said = {.hash = 0xcbf29ce484222325};
  ws_parser_init(&p, &workshop, (choice & 1) == 0, LIMIT);
  if (choice & 2) p.inflate = (ws_agreed_t){WINDOW, (choice & 4) != 0};
  for (size_t from = 0; from < size && !said.fault; from += piece) {
    size_t len = size - from < piece ? size - from : piece, at = 0;
    char *copy = malloc(len); /* so that reading past it is noticed */
    memcpy(copy, data + from, len);
    while (at < len && !said.fault) {
      ws_event_t ev;
      ws_event_kind_t kind = ws_parser_next(&p, copy + at, len - at, &ev);
      assert(ev.used <= len - at && (ev.used > 0 || kind == WS_EV_FAULT));
      at += ev.used;
      if (kind == WS_EV_MORE) break;
      if (kind == WS_EV_FAULT) said.fault = workshop.fault.status;
      else take_event(kind, &ev, &said);
      ws_parser_drop(&p);
    }
    free(copy);
  }
  ws_parser_free(&p);
  return said;
}

/* Frames out of bytes: a first byte with few bits that are wrong, a length, and as many bytes as there are. */
static size_t make_frames(uint8_t choice, const uint8_t *data, size_t size, char *to) {
  static const uint8_t firsts[] = {0x81, 0x82, 0x01, 0x02, 0x80, 0x00, 0x89,
                                   0x8a, 0x88, 0xc1, 0xc2, 0x41, 0x42};
  static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
  size_t at = 0, made = 0;
  while (size - at >= 2) {
    uint8_t first = firsts[data[at] % sizeof firsts];
    size_t len = data[at + 1] % 126;
    at += 2;
    if (len > size - at) len = size - at;
    bool masked = (choice & 1) == 0;
    to[made++] = (char)first;
    to[made++] = (char)((masked ? WS_MASKED : 0) | len);
    if (masked) memcpy(to + made, key, sizeof key);
    made += masked ? sizeof key : 0;
    if (masked) ws_mask(to + made, (const char *)data + at, len, key, 0);
    else memcpy(to + made, data + at, len);
    made += len;
    at += len;
  }
  return made;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 3) return 0;
  uint8_t choice = data[0];
  size_t piece = (size_t)data[1] % 40 + 1, len = size - 2;
  char *frames = malloc(4 * size);
  if (choice & 8) len = make_frames(choice, data + 2, len, frames);
  else memcpy(frames, data + 2, len);
  said_t whole = parse(choice, frames, len, len > 0 ? len : 1), pieces = parse(choice, frames, len, piece);
  free(frames);
  assert(whole.events == pieces.events && whole.hash == pieces.hash && whole.fault == pieces.fault);
  return 0;
}
