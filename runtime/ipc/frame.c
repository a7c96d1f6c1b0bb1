/* ipc/frame.c: the frame reader owns one buffer that grows with what has arrived, never with what a peer has
 * announced: a length is believed only after its bytes came. One that is empty goes to whichever reader of the thread needs one
 * next: a process with many channels, most of which are silent, has one buffer.
 *
 * In: frame_reader_space → recvmsg → frame_reader_commit. Out: frame_reader_next, until it returns 0. */
#include "ipc/frame.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { KEEP_CAPACITY = 256 * 1024 }; /* an empty buffer larger than this is given back */

void frame_reader_init(frame_reader_t *reader, frame_wire_t wire) {
  memset(reader, 0, sizeof *reader);
  reader->wire = wire;
}

void frame_reader_free(frame_reader_t *reader) {
  free(reader->data);
  frame_reader_init(reader, reader->wire);
}

static _Thread_local struct {
  char *data;
  size_t capacity;
} spare;

/* The buffer is empty. */
static void give_back(frame_reader_t *reader) {
  if (!reader->data) return;
  if (!spare.data && reader->capacity <= KEEP_CAPACITY) {
    spare.data = reader->data;
    spare.capacity = reader->capacity;
    reader->data = NULL;
  }
  frame_reader_free(reader);
}

static void take_spare(frame_reader_t *reader) {
  if (reader->data || !spare.data) return;
  reader->data = spare.data;
  reader->capacity = spare.capacity;
  spare.data = NULL;
}

static void settle(frame_reader_t *reader) {
  size_t length = reader->end - reader->start;
  if (reader->start == 0) return;
  if (length > 0) memmove(reader->data, &reader->data[reader->start], length);
  reader->start = 0;
  reader->end = length;
}

char *frame_reader_space(frame_reader_t *reader, size_t *room) {
  take_spare(reader);
  if (reader->capacity - reader->end < FRAME_READ_SIZE) settle(reader);
  if (reader->capacity - reader->end < FRAME_READ_SIZE) {
    size_t capacity = reader->capacity + reader->capacity / 2 + 2 * (size_t)FRAME_READ_SIZE;
    char *data = realloc(reader->data, capacity);
    if (!data) return NULL;
    reader->data = data;
    reader->capacity = capacity;
  }
  *room = reader->capacity - reader->end;
  return &reader->data[reader->end];
}

void frame_reader_commit(frame_reader_t *reader, size_t length) { reader->end += length; }

static void take(frame_reader_t *reader, size_t length) {
  reader->start += length;
  reader->scanned = 0;
  if (reader->start == reader->end) reader->start = reader->end = 0;
}

static int next_json(frame_reader_t *reader, frame_t *frame) {
  for (;;) {
    if (reader->start == reader->end) return 0;
    const char *text = &reader->data[reader->start];
    size_t length = reader->end - reader->start;
    const char *newline = memchr(&text[reader->scanned], '\n', length - reader->scanned);
    if (!newline) {
      reader->scanned = length;
      return length > FRAME_MAX ? FRAME_TOO_LONG : 0;
    }
    *frame = (frame_t){FRAME_MESSAGE, text, (size_t)(newline - text)};
    take(reader, frame->length + 1);
    if (frame->length > 0) return frame->length > FRAME_MAX ? FRAME_TOO_LONG : 1;
  }
}

static uint32_t read_u32(const char *bytes) {
  const unsigned char *b = (const unsigned char *)bytes;
  return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static int next_lua(frame_reader_t *reader, frame_t *frame) {
  size_t length = reader->end - reader->start;
  if (length < FRAME_HEAD) return 0;
  const char *head = &reader->data[reader->start];
  size_t announced = read_u32(head);
  int kind = (unsigned char)head[4];
  if (announced == 0 || kind < FRAME_MESSAGE || kind > FRAME_KEYS) return FRAME_GARBAGE;
  if (announced - 1 > FRAME_MAX) return FRAME_TOO_LONG;
  if ((kind == FRAME_TAKEN || kind == FRAME_LOST) && announced != 1) return FRAME_GARBAGE;
  if (length < announced + 4) return 0;
  *frame = (frame_t){kind, head + FRAME_HEAD, announced - 1};
  take(reader, announced + 4);
  return 1;
}

int frame_reader_next(frame_reader_t *reader, frame_t *frame) {
  int rc = reader->wire == FRAME_JSON ? next_json(reader, frame) : next_lua(reader, frame);
  if (rc == 0 && reader->start == reader->end) give_back(reader);
  return rc;
}

const char *frame_error(int code) {
  switch (code) {
  case FRAME_TOO_LONG: return "a message is longer than 512 MiB";
  case FRAME_NO_MEMORY: return "out of memory";
  default: return "not a message of this serialization";
  }
}

void frame_head(char *head, int kind, size_t length) {
  uint32_t announced = (uint32_t)length + 1;
  for (int i = 0; i < 4; i++) head[i] = (char)(announced >> (8 * i));
  head[4] = (char)kind;
}
