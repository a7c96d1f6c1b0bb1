/* io/stream.h: one byte stream under whatever speaks over it: HTTP, a WebSocket, an encrypted socket.
 *
 * A stream hangs on a luv handle (TCP or unix socket) and lies in the struct of its owner. Three parties:
 *
 *   owner  (stream_owner_t) speaks a protocol: it is given plain bytes and writes plain bytes.
 *   kind   (stream_kind_t) is what lies between the owner's bytes and the kernel's: nothing (stream_plain), or TLS.
 *   stream reads, queues, writes, shuts and closes: it alone calls libuv's stream functions.
 *
 * In: kernel → the VM's read buffer → kind->received → stream_deliver → owner->received.
 * Out: the owner appends to stream_out(), or hands over a large piece → stream_flush → kind->seal, which appends to
 * `wire` → one write at once. What the kernel does not take is queued with libuv, and output collects again until
 * that is written: owner->written. Bytes are never written out of order, and one write is under way at most.
 *
 * A kind that needs a handshake sets `opening`: the owner's output collects, and owner->received is not called before
 * the kind clears it. It writes bytes of its own (a handshake, an alert) by appending to stream_wire() and calling
 * stream_flush. What it makes of one read it delivers at once, so that its answers are one write, too.
 *
 * A stream that was just accepted may begin on a bare descriptor; libuv's handle is made when it has to wait for something.
 *
 * An owner that gives its stream to another one calls stream_move: the stream, with what is unwritten and the kind's
 * state, lies in the new owner's struct then. What was received and not used is the owners' affair. Of a plain stream
 * the handle alone can be had back (stream_release). Lua has plain streams as luv handles, others as userdata of the
 * kind's, which lends its stream (stream_lent).
 *
 * Every function here may be called after stream_close; it does nothing then. The struct must live until
 * stream_close, stream_release or stream_move, and while a function of its owner runs. */
#ifndef LRUN_IO_STREAM_H
#define LRUN_IO_STREAM_H

#include "host/callback.h"
#include "io/buffer.h"

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

typedef struct stream stream_t;
typedef struct stream_write stream_write_t;
typedef struct stream_segment stream_segment_t;
typedef struct stream_shared stream_shared_t;

/* What an owner is told. Each call may end in stream_close; the stream is not looked at any more afterwards. */
typedef struct {
  /* Bytes, good until it returns. A few more may come after stream_read(s, false): those of the same read. */
  void (*received)(stream_t *s, const char *data, size_t len);
  /* The peer sends nothing more. */
  void (*ended)(stream_t *s);
  /* Reading failed, negative: close the stream. stream_push_failure tells more, until then. */
  void (*failed)(stream_t *s, int error);
  /* A write that had to wait is done, 0 or negative; flush what has collected meanwhile, or close. */
  void (*written)(stream_t *s, int status);
  /* The turn ends for which stream_flush_soon was called: flush. */
  void (*turn_ends)(stream_t *s);
} stream_owner_t;

/* What lies between the owner's bytes and the kernel's. NULL: nothing to do there. */
typedef struct {
  /* The kernel's bytes, in the VM's read buffer: stream_deliver what they say. */
  void (*received)(stream_t *s, const char *data, size_t len);
  /* The kernel says that nothing more comes: stream_deliver_end, or stream_fail when that is too early. */
  void (*ended)(stream_t *s);
  /* Appends to stream_wire() what the parts are on the wire. 0 or UV_E*. NULL: they go as they are. */
  int (*seal)(stream_t *s, const uv_buf_t *parts, unsigned n);
  /* Appends to stream_wire() what is said last, before our side is shut or closed. */
  void (*finish)(stream_t *s);
  /* The stream moved: `state` has a new one around it. */
  void (*moved)(stream_t *s);
  /* Pushes a table that says what failed above the kernel: `code`, `message`, and whatever else an Error of it should
   * have; asked for after UV_EPROTO. */
  void (*explain)(stream_t *s, lua_State *L);
  /* The stream goes back to the userdata of Lua's that lent it (stream_lent). NULL: there is none. */
  void (*reclaim)(stream_t *s);
  /* Frees `state`. */
  void (*free)(stream_t *s);
} stream_kind_t;

extern const stream_kind_t stream_plain;

/* What every read and every write looks at comes first: many streams may have their turn, and each is out of the
 * processor's caches. */
struct stream {
  uv_stream_t
      *handle; /* luv's, whose luv_handle_t.extra is the stream; NULL while bare, and when no longer open */
  stream_shared_t *shared;
  const stream_kind_t *kind;
  const stream_owner_t *owner;
  stream_write_t *writing; /* what libuv has and the kernel has not */
  stream_segment_t *files; /* ranges of files, in order; `out` waits behind them */
  bool bare;               /* open, and without a handle yet (io/stream_bare.c) */
  bool expected;           /* bare, and watched for its peer's first word */
  bool reading;            /* libuv reads */
  bool wanted;             /* the owner wants to */
  bool corked;             /* output only collects */
  bool opening;            /* the kind is not ready for the owner's bytes */
  bool parting;            /* what is written now is the last */
  bool parted;             /* the kind has said its last word */
  bool held_back;          /* the kernel keeps the last bytes for the end of our side, one packet */
  bool shut;               /* nothing more is written */
  bool cut;                /* the same: a file was not all that was promised, or memory was out */
  bool deaf;               /* what comes is thrown away */
  bool flushing_soon;
  uint8_t lent;            /* what of `out` and `wire` is memory of the VM's now, a bit each */
  buffer_t out;            /* the owner's bytes, not sealed */
  buffer_t wire;           /* sealed bytes; a plain stream has none */
  uint64_t active;         /* loop time in ms of the last byte read or written */
  uint64_t sent, received; /* bytes of the owner's: given to the kernel, or queued for it; delivered */
  int fd;                  /* the descriptor, while it is bare */
  void *state;             /* the kind's */
  LIST_ENTRY(stream) link; /* all open streams of the VM */
  LIST_ENTRY(stream) soon; /* those that wait for the end of the turn */
};

/* Hangs a stream on an open luv handle. Nothing is read yet. */
void stream_open(lua_State *L, stream_t *s, uv_stream_t *handle, const stream_kind_t *kind,
                 const stream_owner_t *owner);
static inline bool stream_is_open(const stream_t *s) { return s->handle != NULL || s->bare; }

/* The same on the descriptor of a connected socket, which is non-blocking and the stream's from here on. While Lua runs.
 * What has to wait for the loop makes a handle by itself; most that is asked and answered at once never does. */
void stream_open_bare(lua_State *L, stream_t *s, int fd, const stream_owner_t *owner);

/* Sees to it that an open stream has a handle. 0 or UV_E*. */
int stream_need_handle(stream_t *s);

/* Pushes luv's handle of a stream, made where there was none; nil where that is impossible, or the stream is not open. */
void stream_push_handle(lua_State *L, stream_t *s);

/* Starts or stops to read. 0 or UV_E*. */
int stream_read(stream_t *s, bool on);

/* The same for a peer that speaks first and may have spoken already: what is there is received at once, and a stream
 * that this is all of was never watched. Returns what became of it like stream_read; the owner may have closed it. */
int stream_read_first(stream_t *s);

/* Closes now: what was not written is tried once more, then dropped. Takes the function on top of L, which luv
 * calls when the handle is closed; that of a bare stream is called when the turn ends. */
void stream_close(lua_State *L, stream_t *s);

/* Gives the handle of a plain stream back, and one that was lent to who lent it: what was written goes out yet, reading
 * has stopped. NULL for the latter. */
uv_stream_t *stream_release(stream_t *s);

/* `to` becomes what `from` was, under another owner; `from` is a closed stream then. */
void stream_move(stream_t *to, stream_t *from, const stream_owner_t *owner);

/* Says of the userdata class whose metatable is on top: `lend` tells which stream one of them has to give to another
 * owner, or NULL. */
typedef stream_t *(*stream_lend_t)(void *userdata);
void stream_lender(lua_State *L, stream_lend_t lend);

/* Whether the value at `index` is of such a class; `lent` is then the stream that it lends, for stream_move, or NULL. */
bool stream_lent(lua_State *L, int index, stream_t **lent);

/* Our side ends when what is queued has been written; the other's is still read. Call it when nothing waits in
 * stream_out(). 0 or UV_E*. */
int stream_shutdown(stream_t *s);

/* The same, and what still comes is thrown away: closing while the peer sends would reset the connection and could
 * destroy our last bytes on their way. owner->ended tells when to close. */
int stream_linger(stream_t *s);

/* Where the owner appends its output; then stream_flush or stream_flush_soon. */
buffer_t *stream_out(stream_t *s);

/* Where a kind appends its own. */
buffer_t *stream_wire(stream_t *s);

/* Output only collects, or is written at stream_flush again. While it collects it does so in memory of the VM's. */
static inline void stream_cork(stream_t *s, bool on) { s->corked = on; }

/* For who is about to write to many: the processor fetches what that will look at meanwhile. The stream itself should be
 * at hand. */
void stream_expect_write(const stream_t *s);

/* Writes what has collected, unless the stream is corked or a write is under way. 0 or UV_E*. */
int stream_flush(stream_t *s);

/* The same for the last that is written: the owner closes the stream at once when nothing is pending then. Its end goes in one
 * packet with the last bytes. */
int stream_flush_last(stream_t *s);

/* Has owner->turn_ends called before the loop gets control back, so that the writes of one turn are one. */
void stream_flush_soon(stream_t *s);

/* Bytes that many streams are to write, where all of them can have them: room for `len` bytes, or NULL, and each has to be
 * given a copy. What is put there stays from `begin` to `end`, and as long as a stream has to write it. */
void stream_common_begin(stream_shared_t *shared);
char *stream_common(stream_shared_t *shared, size_t len);
void stream_common_end(stream_shared_t *shared);
/* Appends such bytes to the stream's output, without a copy where nothing else waits there. 0 or UV_ENOMEM. */
int stream_append_common(stream_t *s, const char *data, size_t len);

/* Writes what has collected and then the string at `index` and `tail`, without a copy where the kernel takes it; a
 * corked stream, too. `tail` is static or NULL. 0 or UV_E*. */
int stream_write_piece(lua_State *L, stream_t *s, int index, size_t len, const char *tail);

enum { STREAM_TRUNCATED = UV_EOF };

/* A range of a regular file, to be written behind what has collected and before what comes next. */
typedef struct {
  int fd;
  bool owned; /* the descriptor is closed behind the last byte, or when the stream ends */
  bool full;  /* stream_send_file said so */
  uint64_t offset, length;
  /* NULL, or called once, when the descriptor is not used any more: with 0, or with what went wrong (UV_ECANCELED: the stream
   * ended before), and how many bytes were sent. It may enter Lua, and may close the stream. */
  void (*done)(void *data, int status, uint64_t sent);
  void *data;
} stream_file_t;

/* Takes the range; stream_flush sends it. The loop does not wait for a disk. A file that turns out shorter than its range ends
 * the stream: stream_flush, or owner->written, tells STREAM_TRUNCATED; nothing is written behind it. 0;
 * negative where the range was not taken. */
int stream_write_file(stream_t *s, const stream_file_t *file);

/* Sends of a range what the kernel takes at once, behind what has collected; moves it on, and says in `full` when the kernel took
 * less than there is. Nothing goes while something waits, nor of what is not in memory, nor where a kind seals; a failure
 * shows when the rest is written. */
void stream_send_file(stream_t *s, stream_file_t *file);

/* Bytes that wait for the kernel. */
size_t stream_pending(const stream_t *s);

/* Small writes are sent at once from here on. */
void stream_nodelay(stream_t *s);

/* For kinds: what the peer has said, its end, a failure. They call the owner last. */
void stream_deliver(stream_t *s, const char *data, size_t len);
void stream_deliver_end(stream_t *s);
void stream_fail(stream_t *s, int error);

/* Pushes what the kind has to say about `error`, a table (stream_kind_t.explain), or nil where the number says all. */
void stream_push_failure(lua_State *L, stream_t *s, int error);

/* The VM's loop and main state. */
uv_loop_t *stream_loop(const stream_t *s);
lua_State *stream_state(const stream_t *s);

#endif
