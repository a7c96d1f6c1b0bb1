/* ipc/frame.h: splits the byte stream of an IPC channel into frames, and writes their heads. Pure C: no loop, no
 * Lua.
 *
 * Two wires. FRAME_LUA, between lrun processes: a 4-byte little-endian length, which counts what follows it,
 * a kind byte, the body. FRAME_JSON, Node's: one JSON text and a newline. */
#ifndef LRUN_IPC_FRAME_H
#define LRUN_IPC_FRAME_H

#include <stddef.h>

typedef enum { FRAME_LUA, FRAME_JSON } frame_wire_t;

enum {
  FRAME_HEAD = 5,                /* bytes before the body on the Lua wire */
  FRAME_MAX = 512 * 1024 * 1024, /* a longer body is refused, by the sender and by the reader */
  FRAME_READ_SIZE = 64 * 1024    /* room that frame_reader_space offers at least */
};

/* Kinds on the Lua wire. */
enum {
  FRAME_MESSAGE = 1,    /* a body of ipc/check.h */
  FRAME_DESCRIPTOR = 2, /* the same, and one descriptor travels with it */
  FRAME_TAKEN = 3,      /* no body: the oldest descriptor that was not yet answered has arrived */
  FRAME_LOST = 4,       /* no body: it has not */
  FRAME_KEYS = 5        /* keys that messages behind it name by number: see ipc/keys.h */
};

/* Why a channel ends: the first two are the peer's fault. frame_error words them. */
enum { FRAME_GARBAGE = -1, FRAME_TOO_LONG = -2, FRAME_NO_MEMORY = -3 };

typedef struct {
  int kind;         /* always FRAME_MESSAGE on the JSON wire */
  const char *body; /* into the reader's buffer: valid until its next frame_reader_space */
  size_t length;
} frame_t;

typedef struct {
  frame_wire_t wire;
  char *data;
  size_t start, end, capacity; /* data[start, end) is not yet split */
  size_t scanned;              /* JSON: bytes after start that hold no newline */
} frame_reader_t;

void frame_reader_init(frame_reader_t *reader, frame_wire_t wire);
void frame_reader_free(frame_reader_t *reader);

/* Where to read to: at least FRAME_READ_SIZE bytes. NULL when there is no memory. */
char *frame_reader_space(frame_reader_t *reader, size_t *room);
void frame_reader_commit(frame_reader_t *reader, size_t length);

/* 1 and the next frame, 0 when it is not complete, or a negative code. The frame before is no more then. */
int frame_reader_next(frame_reader_t *reader, frame_t *frame);

const char *frame_error(int code);

/* Writes the FRAME_HEAD bytes that go before a body of `length` bytes. */
void frame_head(char *head, int kind, size_t length);

#endif
