/* ipc/channel_read.c: the taking in of messages: owns the frames that are not yet split (ipc/frame.c).
 *
 * poll → recvmsg → one entry into Lua for a batch, which takes message after message by channel_next. Descriptors wait in
 * `received` for the frames that name them, which come with their first byte or after it. */
#include "ipc/channel_shared.h"

#include "host/collector.h"
#include "ipc/check.h"
#include <errno.h>
#include <lauxlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
  READS_PER_TURN = 16, /* before other handles get their turn */
  DRAIN_READS = 256    /* when the peer has ended; somebody else may go on writing */
};

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
  if (queued) channel_schedule_flush(ch);
  else give_up(ch, FRAME_NO_MEMORY); /* answers are told apart by their order only */
}

static void fill(channel_t *ch, const frame_t *frame, channel_message_t *message) {
  bool handle = frame->kind == FRAME_DESCRIPTOR;
  ch->decoded += frame->length;
  ch->current = *frame;
  *message = (channel_message_t){frame->body, (uint32_t)frame->length, -1,
                                 handle ? CHANNEL_HANDLE : CHANNEL_MESSAGE, 0};
  if (!handle) return;
  message->fd = received_take(&ch->received);
  answer(ch, message->fd >= 0);
}

/* 1 when Lua gets it, 0 when that was all, or why the channel ends. */
static int take_frame(channel_t *ch, const frame_t *frame, channel_message_t *message) {
  uint32_t shape = 0;
  switch (frame->kind) {
  case FRAME_MESSAGE:
  case FRAME_DESCRIPTOR:
    if (ch->wire == FRAME_LUA && !check_serialized(ch->keys, frame->body, frame->length, &shape))
      return FRAME_GARBAGE;
    fill(ch, frame, message);
    message->shape = shape + CHANNEL_SHAPELESS;
    return 1;
  case FRAME_KEYS:
    if (!keys_add(&ch->keys, frame->body, frame->length)) return FRAME_GARBAGE;
    *message = (channel_message_t){frame->body, (uint32_t)frame->length, -1, CHANNEL_KEYS, 0};
    return 1;
  default:
    if (outbox_answered(&ch->outbox, frame->kind == FRAME_TAKEN) == -2 && !ch->dropped) return FRAME_GARBAGE;
    channel_schedule_flush(ch);
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
  if (channel_is_passing((int)n)) {
    ch->unread = true;
    channel_wait_for_others(ch);
    return false;
  }
  if (n <= 0) {
    channel_shut(ch, why_unreadable(n));
    return false;
  }
  return handle_frames(ch);
}

void channel_read_in(channel_t *ch) {
  bool full = true;
  for (int i = 0; i < READS_PER_TURN && !ch->paused && full; i++)
    if (!read_once(ch, &full)) break;
  if (!ch->closed && uv_is_active((uv_handle_t *)&ch->prepare)) channel_flush(ch);
}

void channel_read_rest(channel_t *ch) {
  lua_State *L = vm_state(ch->vm);
  bool full;
  for (int i = 0; i < DRAIN_READS && !ch->paused && read_once(ch, &full); i++) {}
  if (ch->closed || ch->unread) return;
  lua_rawgeti(L, LUA_REGISTRYINDEX, ch->on_drained);
  luaL_unref(L, LUA_REGISTRYINDEX, ch->on_drained);
  ch->on_drained = LUA_NOREF;
  callback_enter(L, 0);
}

void channel_drain(channel_t *ch, int ref) {
  lua_State *L = vm_state(ch->vm);
  luaL_unref(L, LUA_REGISTRYINDEX, ch->on_drained);
  ch->on_drained = ref;
  channel_schedule_flush(ch);
}

int channel_take_descriptor(channel_t *ch) {
  int fd = received_take(&ch->received);
  answer(ch, fd >= 0);
  return fd;
}

void channel_refuse(channel_t *ch) { give_up(ch, FRAME_GARBAGE); }

const frame_t *channel_current(const channel_t *ch) { return &ch->current; }

double channel_bytes_received(const channel_t *ch) { return ch->bytes_received; }
