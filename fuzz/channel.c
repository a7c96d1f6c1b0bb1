/* Fuzzes the frame reader of the IPC channel: the first byte chooses the wire, whether a long frame comes first, which
 * makes the reader's buffer grow and shrink again, and how the rest is cut into reads. Whatever the cuts, the same
 * frames come out, and all of them lie inside of what was fed. */
#include "ipc/frame.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  size_t frames, bytes;
  int end; /* what the last frame_reader_next returned */
  uint64_t hash;
} outcome_t;

static void take(frame_reader_t *reader, outcome_t *outcome) {
  frame_t frame;
  while (outcome->end >= 0 && (outcome->end = frame_reader_next(reader, &frame)) > 0) {
    outcome->frames++;
    outcome->bytes += frame.length;
    outcome->hash = outcome->hash * 31 + (uint64_t)frame.kind;
    for (size_t i = 0; i < frame.length; i++)
      outcome->hash = outcome->hash * 31 + (unsigned char)frame.body[i];
  }
}

enum { LONG_FRAME = 300 * 1024, MOST_KEPT = 512 * 1024 };

static void feed(frame_reader_t *reader, const char *bytes, size_t size) {
  while (size > 0) {
    size_t room;
    char *space = frame_reader_space(reader, &room);
    if (!space) abort();
    size_t length = size < room ? size : room;
    memcpy(space, bytes, length);
    frame_reader_commit(reader, length);
    bytes += length;
    size -= length;
  }
}

/* A frame in front of the others, with `more` bytes of what follows it in the same buffer. */
static void feed_long(frame_reader_t *reader, const uint8_t *data, size_t more, outcome_t *outcome) {
  static char frame[LONG_FRAME + FRAME_HEAD + 1];
  memset(frame, ' ', sizeof frame);
  size_t size = LONG_FRAME + (reader->wire == FRAME_JSON ? 1 : FRAME_HEAD);
  if (reader->wire == FRAME_JSON) frame[LONG_FRAME] = '\n';
  else frame_head(frame, FRAME_MESSAGE, LONG_FRAME);
  feed(reader, frame, size);
  if (more > 0) feed(reader, (const char *)data, more);
  frame_t first;
  if (frame_reader_next(reader, &first) != 1 || first.length != LONG_FRAME) abort();
  outcome->end = 1;
  take(reader, outcome);
}

static outcome_t run(frame_wire_t wire, bool grown, const uint8_t *data, size_t size, size_t step) {
  frame_reader_t reader;
  outcome_t outcome = {0};
  frame_reader_init(&reader, wire);
  size_t at = grown && step < size ? step : 0;
  if (grown) feed_long(&reader, data, at, &outcome);
  while (at < size && outcome.end >= 0) {
    size_t room, length = size - at < step ? size - at : step;
    bool empty = reader.start == reader.end;
    char *space = frame_reader_space(&reader, &room);
    if (!space || room < FRAME_READ_SIZE) abort();
    if (empty && room < FRAME_READ_SIZE * 2 && reader.capacity > MOST_KEPT) abort();
    if (length > room) length = room;
    memcpy(space, &data[at], length);
    frame_reader_commit(&reader, length);
    at += length;
    take(&reader, &outcome);
  }
  if (outcome.bytes > size) abort();
  frame_reader_free(&reader);
  return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2) return 0;
  frame_wire_t wire = data[0] & 1 ? FRAME_JSON : FRAME_LUA;
  bool grown = data[0] & 2;
  outcome_t whole = run(wire, grown, &data[1], size - 1, size);
  outcome_t cut = run(wire, grown, &data[1], size - 1, 1 + (data[0] >> 2));
  if (whole.frames != cut.frames || whole.hash != cut.hash || (whole.end < 0) != (cut.end < 0)) abort();
  return 0;
}
