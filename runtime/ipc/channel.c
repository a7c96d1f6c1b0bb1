/* ipc/channel.c: owns one connected unix socket, and the frames not yet split (ipc/frame.c) and not yet written
 * (ipc/outbox.c).
 *
 * In: poll → recvmsg → one entry into Lua for a batch, which takes message after message by channel_next.
 * Descriptors wait in `received` for the frames that name them, which come with their first byte or after it.
 * Out: channel_append → outbox → written at once when nothing was for a millisecond, else once each loop turn
 * (prepare, before the loop blocks), after each batch of reads, or when 64 KiB have gathered. What is left at
 * exit is written by an exit hook.
 *
 * Life: open → closing (no more sends; what is queued is written) → closed (socket gone, on_close has run,
 * memory is freed when libuv lets go of the handles). The poll handle keeps the loop alive while Lua asked
 * for that (`refed`), while it closes, or while bytes wait. */
#include "ipc/channel.h"

#include "host/callback.h"
#include "host/collector.h"
#include "host/vm.h"
#include "ipc/check.h"
#include "ipc/keys.h"
#include "ipc/outbox.h"
#include "ipc/received.h"
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
  FLUSH_AT = 64 * 1024, /* queued bytes that do not wait for the end of the turn */
  GATHER_NS = 1000000,  /* nor does a message, when none was written for so long: a script may compute next */
  CLOCK_EVERY = 2048,   /* queued bytes between looks at the clock */
  SOCKET_BUFFER = 208 * 1024, /* the kernel doubles it: a reader has work left while a full writer wakes up */
  BACKLOG_MAX = 128 * 1024,   /* `send` returns false from here on */
  READS_PER_TURN = 16,        /* before other handles get their turn */
  DRAIN_READS = 256,          /* when the peer has ended; somebody else may go on writing */
  EXIT_STALL_MS = 5000,       /* at exit, a reader that takes nothing for so long is given up */
  RETRY_MS = 5, /* between tries while the kernel lacks memory, or has enough descriptors under way */
  HANDLES = 4
};

/* A send whose callback waits until its last byte is written. */
typedef struct callback_wait {
  STAILQ_ENTRY(callback_wait) link;
  uint64_t position; /* in the bytes that the outbox has ever taken */
  int ref;
} callback_wait_t;

struct channel {
  vm_t *vm;
  int fd;
  frame_wire_t wire;
  frame_reader_t reader;
  frame_t current; /* what channel_next gave last */
  outbox_t outbox;
  uv_poll_t poll;       /* these four are closed by channel_shut; the last one frees the channel */
  uv_prepare_t prepare; /* active while something waits for the end of the turn */
  uv_idle_t idle;       /* likewise: keeps the loop from blocking before that */
  uv_timer_t retry;     /* runs while the kernel cannot take or give now what it could have */
  int open_handles;
  int events; /* what poll watches */
  received_t received;
  keys_t *keys; /* of the other end; NULL until it has told of any */
  double bytes_received;
  size_t decoded;    /* bytes of messages in this batch */
  uint64_t wrote_at; /* when bytes last went to the socket, ns */
  STAILQ_HEAD(, callback_wait) waits;
  int on_drained;               /* registry ref, or LUA_NOREF: see channel_drain */
  int on_batch, on_close, self; /* registry refs; self anchors the userdata while the channel is open */
  channel_t **box;              /* in the userdata */
  const callbacks_t *callbacks;
  const char *failure; /* why the channel closes after this batch */
  bool drained;        /* no complete frame is left in the reader */
  bool taken;    /* this batch has asked for a message; ticks end it only then, so that each makes progress */
  bool refed;    /* what Lua asked for */
  bool paused;   /* nothing is read */
  bool unread;   /* what is there is read when `retry` has run */
  bool writable; /* false: wait for the poll handle to say so */
  bool dropped;  /* the outbox was: answers may still come to what was under way */
  bool closing;  /* closes once the outbox is empty */
  bool closed;
};

static void channel_shut(channel_t *ch, const char *reason);
static void watch(channel_t *ch);

/* Writing ------------------------------------------------------------------------------------------------- */

static void schedule_flush(channel_t *ch);
static void flush(channel_t *ch);
static void read_in(channel_t *ch);
static void drain(channel_t *ch);

static bool may_write(const channel_t *ch) {
  return ch->writable && !uv_is_active((const uv_handle_t *)&ch->retry);
}

static void on_retry(uv_timer_t *retry) {
  channel_t *ch = retry->data;
  flush(ch);
  if (ch->closed || !ch->unread) return;
  ch->unread = false;
  if (ch->on_drained != LUA_NOREF) drain(ch);
  else read_in(ch);
  if (!ch->closed) watch(ch);
}

/* Nothing is wrong with the socket: the kernel carries only so many descriptors for a user, on all sockets, and
 * has only so much memory. What others receive and give back makes room. */
static bool is_passing(int rc) { return rc == -ETOOMANYREFS || rc == UV_ENOMEM || rc == UV_ENOBUFS; }

static void wait_for_others(channel_t *ch) {
  if (!uv_is_active((uv_handle_t *)&ch->retry)) uv_timer_start(&ch->retry, on_retry, RETRY_MS, 0);
}

/* The callbacks of what is written by now. They may send more, or close the channel. */
static void run_callbacks(channel_t *ch) {
  callback_wait_t *wait;
  while ((wait = STAILQ_FIRST(&ch->waits)) && wait->position <= ch->outbox.written) {
    STAILQ_REMOVE_HEAD(&ch->waits, link);
    lua_State *L = vm_state(ch->vm);
    lua_rawgeti(L, LUA_REGISTRYINDEX, wait->ref);
    luaL_unref(L, LUA_REGISTRYINDEX, wait->ref);
    free(wait);
    callback_enter(L, 0);
    if (ch->closed) return;
  }
}

/* The peer is gone; the callbacks hear of it in channel_shut. */
static void drop_outbox(channel_t *ch) {
  outbox_clear(&ch->outbox);
  ch->dropped = true;
}

/* Writes without entering Lua. A peer that is gone shows when the channel is read to its end. */
static void write_out(channel_t *ch) {
  int rc = outbox_write(&ch->outbox, ch->fd, false);
  ch->wrote_at = uv_hrtime();
  ch->writable = rc != UV_EAGAIN;
  if (rc < 0 && rc != UV_EAGAIN) {
    if (is_passing(rc)) wait_for_others(ch);
    else drop_outbox(ch);
  }
  watch(ch);
}

static void flush(channel_t *ch) {
  if (may_write(ch)) write_out(ch);
  run_callbacks(ch);
  if (ch->closed) return;
  if (ch->closing && outbox_is_empty(&ch->outbox)) channel_shut(ch, NULL);
}

static void on_turn(uv_prepare_t *prepare) {
  channel_t *ch = prepare->data;
  uv_prepare_stop(&ch->prepare);
  uv_idle_stop(&ch->idle);
  flush(ch);
  if (!ch->closed && ch->on_drained != LUA_NOREF) drain(ch);
}

static void on_idle(uv_idle_t *idle) { (void)idle; }

static void schedule_flush(channel_t *ch) {
  if (uv_is_active((uv_handle_t *)&ch->prepare)) return;
  uv_prepare_start(&ch->prepare, on_turn);
  uv_idle_start(&ch->idle, on_idle);
}

/* False when the reader takes nothing for too long. */
static bool wait_for_reader(const channel_t *ch) {
  struct pollfd poller = {.fd = ch->fd, .events = POLLOUT};
  int n;
  do n = poll(&poller, 1, EXIT_STALL_MS);
  while (n < 0 && errno == EINTR);
  return n > 0;
}

/* At exit nobody answers any more, and the loop is over. */
static void write_at_exit(void *data) {
  channel_t *ch = data;
  int retries = EXIT_STALL_MS / RETRY_MS;
  while (!outbox_is_empty(&ch->outbox)) {
    int rc = outbox_write(&ch->outbox, ch->fd, true);
    if (rc == 0) return;
    if (is_passing(rc) && retries-- > 0) poll(NULL, 0, RETRY_MS);
    else if (rc != UV_EAGAIN || !wait_for_reader(ch)) return;
  }
}

/* Before this process blocks, or starts or kills another: at the end of the process all is written. */
static void write_now(void *data, bool last) {
  channel_t *ch = data;
  if (!last && may_write(ch) && !outbox_is_empty(&ch->outbox)) write_out(ch);
}

/* Reading ------------------------------------------------------------------------------------------------- */

/* Closes as soon as on_batch has returned. */
static void give_up(channel_t *ch, int frame_code) {
  ch->failure = frame_error(frame_code);
  ch->drained = true;
}

static void answer(channel_t *ch, bool taken) {
  bool queued;
  if (ch->wire == FRAME_JSON) {
    const char *text = taken ? "{\"cmd\":\"NODE_HANDLE_ACK\"}\n" : "{\"cmd\":\"NODE_HANDLE_NACK\"}\n";
    queued = outbox_urgent(&ch->outbox, text, strlen(text));
  } else {
    char head[FRAME_HEAD];
    frame_head(head, taken ? FRAME_TAKEN : FRAME_LOST, 0);
    queued = outbox_urgent(&ch->outbox, head, sizeof head);
  }
  if (queued) schedule_flush(ch);
  else give_up(ch, FRAME_NO_MEMORY); /* answers are told apart by their order only */
}

static void fill(channel_t *ch, const frame_t *frame, channel_message_t *message) {
  bool handle = frame->kind == FRAME_DESCRIPTOR;
  ch->decoded += frame->length;
  ch->current = *frame;
  *message = (channel_message_t){frame->body, (uint32_t)frame->length, -1,
                                 handle ? CHANNEL_HANDLE : CHANNEL_MESSAGE};
  if (!handle) return;
  message->fd = received_take(&ch->received);
  answer(ch, message->fd >= 0);
}

/* 1 when Lua gets it, 0 when that was all, or why the channel ends. */
static int take_frame(channel_t *ch, const frame_t *frame, channel_message_t *message) {
  switch (frame->kind) {
  case FRAME_MESSAGE:
  case FRAME_DESCRIPTOR:
    if (ch->wire == FRAME_LUA && !check_serialized(ch->keys, frame->body, frame->length))
      return FRAME_GARBAGE;
    fill(ch, frame, message);
    return 1;
  case FRAME_KEYS:
    if (!keys_add(&ch->keys, frame->body, frame->length)) return FRAME_GARBAGE;
    *message = (channel_message_t){frame->body, (uint32_t)frame->length, -1, CHANNEL_KEYS};
    return 1;
  default:
    if (outbox_answered(&ch->outbox, frame->kind == FRAME_TAKEN) == -2 && !ch->dropped) return FRAME_GARBAGE;
    schedule_flush(ch);
    return 0;
  }
}

/* By steps of sixteen, of which the last begins where it must: for a length that it knows to be short, the compiler would
 * take an instruction that is slow to start. */
static void copy_short(char *to, const char *from, size_t length) {
  enum { STEP = 16 };
  if (length < STEP) {
    for (size_t i = 0; i < length; i++) to[i] = from[i];
    return;
  }
  for (size_t left = length; left > STEP; left -= STEP)
    memcpy(&to[length - left], &from[length - left], STEP);
  memcpy(&to[length - STEP], &from[length - STEP], STEP);
}

void channel_next(channel_t *ch, channel_message_t *message, char *copy) {
  frame_t frame;
  int rc;
  message->kind = CHANNEL_NOTHING;
  if (ch->closed || ch->failure || (ch->taken && callback_has_ticks(ch->callbacks))) return;
  ch->taken = true;
  while ((rc = frame_reader_next(&ch->reader, &frame)) > 0) {
    rc = take_frame(ch, &frame, message);
    if (rc != 0) break;
  }
  if (rc > 0) {
    if (frame.length <= CHANNEL_SHORT) copy_short(copy, frame.body, frame.length);
    return;
  }
  ch->drained = true;
  if (rc < 0) give_up(ch, rc);
}

/* Lets Lua take what was read: one call for a batch, another whenever a listener threw, waits, or has left
 * ticks. False when the channel was closed meanwhile. */
static bool handle_frames(channel_t *ch) {
  lua_State *L = vm_state(ch->vm);
  ch->drained = false;
  while (!ch->drained) {
    ch->taken = false;
    ch->decoded = 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, ch->on_batch);
    callback_enter(L, 0);
    if (ch->closed) return false;
    if (ch->wire == FRAME_LUA) collector_decoded(L, ch->decoded);
  }
  if (!ch->failure) return true;
  channel_shut(ch, ch->failure);
  return false;
}

/* Bytes read, 0 at the end, or UV_E*: UV_E2BIG when this process has no memory for them. `*full`: there may be more. */
static ssize_t receive(channel_t *ch, bool *full) {
  union {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int) * RECEIVED_MAX)];
  } control;
  size_t room;
  char *space = frame_reader_space(&ch->reader, &room);
  if (!space) return UV_E2BIG;
  struct iovec vector = {space, room};
  struct msghdr message = {.msg_iov = &vector,
                           .msg_iovlen = 1,
                           .msg_control = control.bytes,
                           .msg_controllen = sizeof control.bytes};
  ssize_t n;
  do n = recvmsg(ch->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n < 0) return uv_translate_sys_error(errno);
  frame_reader_commit(&ch->reader, (size_t)n);
  ch->bytes_received += (double)n;
  *full = (size_t)n == room;
  if (!received_keep(&ch->received, &message)) return UV_EPROTO;
  return n;
}

static const char *why_unreadable(ssize_t code) {
  if (code == 0 || code == UV_ECONNRESET) return NULL;
  if (code == UV_EPROTO) return frame_error(FRAME_GARBAGE);
  if (code == UV_E2BIG) return frame_error(FRAME_NO_MEMORY);
  return uv_strerror((int)code);
}

/* Reads and hands on once. False: there was nothing more to read now, or the channel was closed. */
static bool read_once(channel_t *ch, bool *full) {
  ssize_t n = receive(ch, full);
  if (n == UV_EAGAIN) return false;
  if (is_passing((int)n)) {
    ch->unread = true;
    wait_for_others(ch);
    return false;
  }
  if (n <= 0) {
    channel_shut(ch, why_unreadable(n));
    return false;
  }
  return handle_frames(ch);
}

static void read_in(channel_t *ch) {
  bool full = true;
  for (int i = 0; i < READS_PER_TURN && !ch->paused && full; i++)
    if (!read_once(ch, &full)) break;
  if (!ch->closed && uv_is_active((uv_handle_t *)&ch->prepare)) flush(ch);
}

/* All that the peer has left is there to read; its end comes last, unless somebody else holds the socket. */
static void drain(channel_t *ch) {
  lua_State *L = vm_state(ch->vm);
  bool full;
  for (int i = 0; i < DRAIN_READS && !ch->paused && read_once(ch, &full); i++) {}
  if (ch->closed || ch->unread) return;
  lua_rawgeti(L, LUA_REGISTRYINDEX, ch->on_drained);
  luaL_unref(L, LUA_REGISTRYINDEX, ch->on_drained);
  ch->on_drained = LUA_NOREF;
  callback_enter(L, 0);
}

/* libuv has stopped polling. A peer that went away with our bytes unread shows as an error; what it had sent
 * before is still there to read. */
static void on_poll_error(channel_t *ch, int status) {
  double before = ch->bytes_received;
  ch->events = 0;
  ch->paused = false;
  read_in(ch);
  if (ch->closed || ch->unread) return;
  if (ch->bytes_received == before) channel_shut(ch, uv_strerror(status));
  else watch(ch);
}

static void on_poll(uv_poll_t *poll, int status, int events) {
  channel_t *ch = poll->data;
  if (status < 0) return on_poll_error(ch, status);
  if (events & UV_WRITABLE) {
    ch->writable = true;
    flush(ch);
  }
  if (ch->closed) return;
  if (events & UV_DISCONNECT) ch->paused = false;
  if (events & (UV_READABLE | UV_DISCONNECT)) read_in(ch);
  if (!ch->closed) watch(ch);
}

/* Adjusts what the poll handle waits for, and whether that keeps the loop alive. */
static void watch(channel_t *ch) {
  int events = (ch->paused || ch->unread ? UV_DISCONNECT : UV_READABLE) | (ch->writable ? 0 : UV_WRITABLE);
  bool refed = ch->refed || ch->closing || !outbox_is_empty(&ch->outbox);
  if (refed != (bool)uv_has_ref((uv_handle_t *)&ch->poll)) {
    if (refed) uv_ref((uv_handle_t *)&ch->poll);
    else uv_unref((uv_handle_t *)&ch->poll);
  }
  if (events == ch->events) return;
  ch->events = events;
  uv_poll_start(&ch->poll, events, on_poll);
}

/* Opening and closing ------------------------------------------------------------------------------------- */

static void on_handle_closed(uv_handle_t *handle) {
  channel_t *ch = handle->data;
  if (--ch->open_handles > 0) return;
  frame_reader_free(&ch->reader);
  keys_free(ch->keys);
  free(ch);
}

static void drop_refs(channel_t *ch) {
  lua_State *L = vm_state(ch->vm);
  if (ch->box) *ch->box = NULL;
  luaL_unref(L, LUA_REGISTRYINDEX, ch->on_batch);
  luaL_unref(L, LUA_REGISTRYINDEX, ch->on_close);
  luaL_unref(L, LUA_REGISTRYINDEX, ch->on_drained);
  luaL_unref(L, LUA_REGISTRYINDEX, ch->self);
}

/* Pushes the callbacks of what was not written, in a table. */
static void push_waits(lua_State *L, channel_t *ch) {
  lua_newtable(L);
  for (int i = 1; !STAILQ_EMPTY(&ch->waits); i++) {
    callback_wait_t *wait = STAILQ_FIRST(&ch->waits);
    STAILQ_REMOVE_HEAD(&ch->waits, link);
    lua_rawgeti(L, LUA_REGISTRYINDEX, wait->ref);
    lua_rawseti(L, -2, i);
    luaL_unref(L, LUA_REGISTRYINDEX, wait->ref);
    free(wait);
  }
}

/* Closes now. What was not written is lost. Enters Lua at the end, which notes that the channel is closed
 * before it calls anybody back. */
static void channel_shut(channel_t *ch, const char *reason) {
  if (ch->closed) return;
  ch->closed = true;
  lua_State *L = vm_state(ch->vm);
  vm_forget_exit(ch->vm, write_at_exit, ch);
  vm_forget_flush(ch->vm, write_now, ch);
  outbox_clear(&ch->outbox);
  received_close(&ch->received);
  uv_close((uv_handle_t *)&ch->poll, on_handle_closed);
  uv_close((uv_handle_t *)&ch->prepare, on_handle_closed);
  uv_close((uv_handle_t *)&ch->idle, on_handle_closed);
  uv_close((uv_handle_t *)&ch->retry, on_handle_closed);
  close(ch->fd);
  lua_rawgeti(L, LUA_REGISTRYINDEX, ch->on_close);
  drop_refs(ch);
  push_waits(L, ch);
  lua_pushstring(L, reason);
  callback_enter(L, 2);
}

/* As much as an unprivileged process gets by default, or less: all the same. */
static void enlarge_buffer(int fd) {
  int size = SOCKET_BUFFER;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

static int init_handles(channel_t *ch) {
  uv_loop_t *loop = vm_loop(ch->vm);
  int rc = uv_poll_init(loop, &ch->poll, ch->fd);
  if (rc < 0) return rc;
  uv_prepare_init(loop, &ch->prepare);
  uv_idle_init(loop, &ch->idle);
  uv_timer_init(loop, &ch->retry);
  ch->open_handles = HANDLES;
  ch->poll.data = ch->prepare.data = ch->idle.data = ch->retry.data = ch;
  uv_unref((uv_handle_t *)&ch->poll);
  return 0;
}

int channel_open(lua_State *L, int fd, frame_wire_t wire, int on_batch, int on_close) {
  channel_t *ch = calloc(1, sizeof *ch);
  int rc = ch ? 0 : UV_ENOMEM;
  if (ch) {
    ch->vm = vm_of(L);
    ch->callbacks = callback_state(L);
    ch->fd = fd;
    rc = init_handles(ch);
  }
  if (rc < 0) {
    free(ch);
    close(fd);
    luaL_unref(L, LUA_REGISTRYINDEX, on_batch);
    luaL_unref(L, LUA_REGISTRYINDEX, on_close);
    return rc;
  }
  enlarge_buffer(fd);
  ch->wire = wire;
  frame_reader_init(&ch->reader, wire);
  outbox_init(&ch->outbox, wire == FRAME_JSON);
  STAILQ_INIT(&ch->waits);
  ch->on_drained = LUA_NOREF;
  ch->on_batch = on_batch;
  ch->on_close = on_close;
  ch->writable = true;
  ch->box = lua_newuserdata(L, sizeof *ch->box);
  *ch->box = ch;
  luaL_getmetatable(L, CHANNEL_TYPE);
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  ch->self = luaL_ref(L, LUA_REGISTRYINDEX);
  vm_at_exit(ch->vm, write_at_exit, ch);
  vm_at_flush(ch->vm, write_now, ch);
  watch(ch);
  return 0;
}

/* What is done with an open channel ----------------------------------------------------------------------- */

/* Whether nothing was written for a while. The clock is asked for the first message of a queue and then every
 * CLOCK_EVERY bytes. */
static bool is_overdue(const channel_t *ch, size_t appended) {
  size_t queued = ch->outbox.queued;
  if (queued / CLOCK_EVERY == (queued - appended) / CLOCK_EVERY && queued > appended + FRAME_HEAD)
    return false;
  return uv_hrtime() - ch->wrote_at > GATHER_NS;
}

int channel_append(channel_t *ch, const char *body, size_t length, int fd) {
  bool json = ch->wire == FRAME_JSON;
  char head[FRAME_HEAD];
  if (ch->closed) return UV_EPIPE; /* a finalizer may run before Lua knows */
  if (length > FRAME_MAX) return CHANNEL_TOO_LONG;
  if (fd >= 0) {
    fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return uv_translate_sys_error(errno);
  }
  if (!json) frame_head(head, fd >= 0 ? FRAME_DESCRIPTOR : FRAME_MESSAGE, length);
  bool done = json ? outbox_append(&ch->outbox, body, length, "\n", 1, fd)
                   : outbox_append(&ch->outbox, head, sizeof head, body, length, fd);
  if (!done) return UV_ENOMEM;
  /* With a descriptor it waits for the end of the turn: who sends it has yet to let go of it. */
  if (fd < 0 && may_write(ch) && (ch->outbox.queued >= FLUSH_AT || is_overdue(ch, length))) write_out(ch);
  if (!outbox_is_empty(&ch->outbox) || !STAILQ_EMPTY(&ch->waits)) schedule_flush(ch);
  return ch->outbox.queued < BACKLOG_MAX && !outbox_is_held_up(&ch->outbox);
}

int channel_append_keys(channel_t *ch, const char *body, size_t length) {
  char head[FRAME_HEAD];
  frame_head(head, FRAME_KEYS, length);
  return outbox_append(&ch->outbox, head, sizeof head, body, length, -1) ? 0 : UV_ENOMEM;
}

int channel_wait(channel_t *ch, int ref) {
  callback_wait_t *wait = malloc(sizeof *wait);
  if (!wait) return UV_ENOMEM;
  wait->position = ch->outbox.appended;
  wait->ref = ref;
  STAILQ_INSERT_TAIL(&ch->waits, wait, link);
  schedule_flush(ch);
  return 0;
}

int channel_take_descriptor(channel_t *ch) {
  int fd = received_take(&ch->received);
  answer(ch, fd >= 0);
  return fd;
}

bool channel_answered(channel_t *ch, bool taken) {
  bool lost = outbox_answered(&ch->outbox, taken) == -1;
  schedule_flush(ch);
  return !lost;
}

void channel_close(channel_t *ch) {
  if (ch->closing) return;
  ch->closing = true;
  watch(ch);
  schedule_flush(ch);
}

void channel_drain(channel_t *ch, int ref) {
  lua_State *L = vm_state(ch->vm);
  luaL_unref(L, LUA_REGISTRYINDEX, ch->on_drained);
  ch->on_drained = ref;
  schedule_flush(ch);
}

void channel_refuse(channel_t *ch) { give_up(ch, FRAME_GARBAGE); }

void channel_keep_alive(channel_t *ch, bool on) {
  ch->refed = on;
  watch(ch);
}

void channel_pause(channel_t *ch, bool on) {
  ch->paused = on;
  watch(ch);
}

const frame_t *channel_current(const channel_t *ch) { return &ch->current; }
double channel_bytes_received(const channel_t *ch) { return ch->bytes_received; }
