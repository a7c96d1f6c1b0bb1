/* io/stream_shared.h: what all streams of a VM share; for the files io/stream*.c alone. */
#ifndef LRUN_IO_STREAM_SHARED_H
#define LRUN_IO_STREAM_SHARED_H

#include "io/stream.h"

enum {
  STREAM_READ_SIZE = 64 * 1024,
  STREAM_COMMON_SIZE = 64 * 1024, /* more that is published in one turn is copied */
  STREAM_FIRST_READS = 64 /* by stream_read_first in one turn: who is answered may connect again, and again */
};

/* Bits of stream_t.lent: `out`, `wire` is a scratch buffer; `out` lies in the common memory. */
enum { STREAM_OUT = 1, STREAM_WIRE = 2, STREAM_COMMON = 4 };

typedef struct stream_ready stream_ready_t;

struct stream_shared {
  lua_State *L; /* the main state */
  uv_loop_t *loop;
  int close, new_tcp, new_pipe;                  /* refs of luv's functions */
  LIST_HEAD(, stream) streams;                   /* all that are open */
  LIST_HEAD(, stream) soon;                      /* those that wait for the end of the turn */
  callback_end_t turn_end;                       /* calls them */
  LIST_HEAD(stream_writes, stream_write) writes; /* what libuv has */
  stream_segment_t *retired;                     /* files whose end is to be told in this turn */
  callback_end_t files_end;                      /* tells them */
  bool files_end_asked;
  uv_poll_t
      expecting; /* on `expecting_fd`, which is 0 until it is needed: those of whom the first word is expected */
  int expecting_fd;
  unsigned expected;     /* how many; it keeps the loop alive while there are any */
  stream_ready_t *ready; /* those that are looked at just now */
  buffer_t closed; /* refs of the functions that wait for the end of bare streams to be told, each an int */
  callback_end_t closed_end; /* tells it */
  bool closed_end_asked;
  bool flushing; /* what is written now may not enter Lua */
  bool turn_end_asked;
  bool ended;              /* the VM's end has begun: libuv is given nothing more */
  uint64_t first_reads_at; /* loop time of the turn that first_reads counts in */
  uint32_t first_reads;
  uint8_t lent; /* which of the scratch buffers a stream has */
  buffer_t scratch_out, scratch_wire;
  char *common; /* see stream_common; NULL before it is first needed */
  size_t common_len;
  uint32_t
      common_users; /* begun, and streams whose `out` lies there; it is empty again when there are none */
  bool read_buffer_used; /* its bytes are somebody's just now */
  char read_buffer[STREAM_READ_SIZE];
};

/* The descriptor of an open stream. 0 or UV_E*. */
static inline int stream_descriptor(const stream_t *s, uv_os_fd_t *fd) {
  if (!s->bare) return uv_fileno((uv_handle_t *)s->handle, fd);
  *fd = s->fd;
  return 0;
}

/* Lets go of the descriptor, or the handle, and of all memory; returns the handle. */
uv_stream_t *stream_detach(stream_t *s);

/* Receives what is there. False: nothing, for now, or no more; libuv will tell. */
bool stream_read_now(stream_t *s);

/* io/stream_bare.c: reads a bare stream when its peer speaks; false where that is impossible. */
bool stream_expect(stream_t *s);

/* It may have been expected. */
void stream_bare_moved(stream_t *to, stream_t *from);

/* Closes a bare stream; the function on top of L is called when the turn ends. */
void stream_close_bare(lua_State *L, stream_t *s);

/* Takes the stream from those that wait for the end of the turn. */
void stream_soon_done(stream_t *s);

/* Writes what has collected although the stream is corked; nothing while a write is under way. 0 or UV_E*. */
int stream_push(stream_t *s);

/* Gives borrowed memory back, frees the rest, and lets go of the write under way. */
void stream_drop_output(stream_t *s);

/* Writes the buffer's bytes, which are its own memory, before all that waits; or has libuv do it, which takes the memory then.
 * `later`: libuv in any case, where nothing seals. No write is under way. 0 or UV_E*. */
int stream_put(stream_t *s, buffer_t *bytes, bool later);

/* What has collected becomes `to`, in memory of its own. 0 or UV_ENOMEM. */
int stream_take_out(stream_t *s, buffer_t *to);

/* io/stream_file.c: files go as far as they can; those that wait belong to a stream at a new place; all are dropped; the VM
 * ends. */
int stream_push_files(stream_t *s);
uint64_t stream_files_pending(const stream_t *s);
void stream_files_moved(stream_t *s);
void stream_drop_files(stream_t *s);
void stream_forget_files(stream_shared_t *shared);

/* Has libuv take what is left although a write is under way; for a handle that is given away. */
void stream_write_rest(stream_t *s);

/* The write under way belongs to the stream at a new place. */
void stream_write_moved(stream_t *s);

/* The VM ends: what libuv still has is nobody's any more. */
void stream_forget_all(void *shared);

/* Before a synchronous call or the end: what has collected is given to the kernel. `last`: nothing runs afterwards;
 * waits for readers as long as they read. */
void stream_flush_all(void *shared, bool last);

#endif
