/* Fuzzes the frame reader of the IPC channel: the first byte chooses the wire and how the rest is cut into
 * reads. Whatever the cuts, the same frames come out, and all of them lie inside of what was fed. */
#include "ipc/frame.h"

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

static outcome_t run(frame_wire_t wire, const uint8_t *data, size_t size, size_t step) {
  frame_reader_t reader;
  outcome_t outcome = {0};
  frame_reader_init(&reader, wire);
  for (size_t at = 0; at < size && outcome.end >= 0;) {
    size_t room, length = size - at < step ? size - at : step;
    char *space = frame_reader_space(&reader, &room);
    if (!space || room < FRAME_READ_SIZE) abort();
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
  outcome_t whole = run(wire, &data[1], size - 1, size);
  outcome_t cut = run(wire, &data[1], size - 1, 1 + (data[0] >> 1));
  if (whole.frames != cut.frames || whole.hash != cut.hash || (whole.end < 0) != (cut.end < 0)) abort();
  return 0;
}
