/* ipc/channel_write.c: the sending of messages: what channel_append takes waits in the outbox (ipc/outbox.c).
 *
 * It is written at once when nothing was for a millisecond, else once each loop turn (prepare, before the loop blocks), after
 * each batch of reads, or when 64 KiB have gathered. What is left at exit is written by an exit hook. */
#include "ipc/channel_shared.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum {
  FLUSH_AT = 64 * 1024, /* queued bytes that do not wait for the end of the turn */
  GATHER_NS = 1000000,  /* nor does a message, when none was written for so long: a script may compute next */
  CLOCK_EVERY = 2048,   /* queued bytes between looks at the clock */
  BACKLOG_MAX = 128 * 1024, /* `send` returns false from here on */
  EXIT_STALL_MS = 5000      /* at exit, a reader that takes nothing for so long is given up */
};

static bool may_write(const channel_t *ch) {
  return ch->writable && !uv_is_active((const uv_handle_t *)&ch->retry);
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
    if (channel_is_passing(rc)) channel_wait_for_others(ch);
    else drop_outbox(ch);
  }
  channel_watch(ch);
}

void channel_flush(channel_t *ch) {
  if (may_write(ch)) write_out(ch);
  run_callbacks(ch);
  if (ch->closed) return;
  if (ch->closing && outbox_is_empty(&ch->outbox)) channel_shut(ch, NULL);
}

static void on_turn(uv_prepare_t *prepare) {
  channel_t *ch = prepare->data;
  uv_prepare_stop(&ch->prepare);
  uv_idle_stop(&ch->idle);
  channel_flush(ch);
  if (!ch->closed && ch->on_drained != LUA_NOREF) channel_read_rest(ch);
}

static void on_idle(uv_idle_t *idle) { (void)idle; }

void channel_schedule_flush(channel_t *ch) {
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
void channel_write_at_exit(void *data) {
  channel_t *ch = data;
  int retries = EXIT_STALL_MS / CHANNEL_RETRY_MS;
  while (!outbox_is_empty(&ch->outbox)) {
    int rc = outbox_write(&ch->outbox, ch->fd, true);
    if (rc == 0) return;
    if (channel_is_passing(rc) && retries-- > 0) poll(NULL, 0, CHANNEL_RETRY_MS);
    else if (rc != UV_EAGAIN || !wait_for_reader(ch)) return;
  }
}

/* Before this process blocks, or starts or kills another: at the end of the process all is written. */
void channel_write_now(void *data, bool last) {
  channel_t *ch = data;
  if (!last && may_write(ch) && !outbox_is_empty(&ch->outbox)) write_out(ch);
}

/* Whether nothing was written for a while. The clock is asked for the first message of a queue and then every
 * CLOCK_EVERY bytes. */
static bool is_overdue(const channel_t *ch, size_t appended) {
  size_t queued = ch->outbox.queued;
  if (queued / CLOCK_EVERY == (queued - appended) / CLOCK_EVERY && queued > appended + FRAME_HEAD)
    return false;
  return uv_hrtime() - ch->wrote_at > GATHER_NS;
}

/* False when there is no memory. */
static bool put_json(channel_t *ch, const char *text, size_t length, int fd) {
  char *place = outbox_append(&ch->outbox, length + 1, fd);
  if (!place) return false;
  memcpy(place, text, length);
  place[length] = '\n';
  return true;
}
static bool put_frame(channel_t *ch, int kind, const char *body, size_t length, int fd) {
  char *place = outbox_append(&ch->outbox, FRAME_HEAD + length, fd);
  if (!place) return false;
  frame_head(place, kind, length);
  memcpy(place + FRAME_HEAD, body, length);
  return true;
}

int channel_append(channel_t *ch, const char *body, size_t length, int fd) {
  if (ch->closed) return UV_EPIPE; /* a finalizer may run before Lua knows */
  if (length > FRAME_MAX) return CHANNEL_TOO_LONG;
  if (fd >= 0) {
    fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return uv_translate_sys_error(errno);
  }
  bool done = ch->wire == FRAME_JSON
                  ? put_json(ch, body, length, fd)
                  : put_frame(ch, fd >= 0 ? FRAME_DESCRIPTOR : FRAME_MESSAGE, body, length, fd);
  if (!done) return UV_ENOMEM;
  /* With a descriptor it waits for the end of the turn: who sends it has yet to let go of it. */
  if (fd < 0 && may_write(ch) && (ch->outbox.queued >= FLUSH_AT || is_overdue(ch, length))) write_out(ch);
  if (!outbox_is_empty(&ch->outbox) || !STAILQ_EMPTY(&ch->waits)) channel_schedule_flush(ch);
  return ch->outbox.queued < BACKLOG_MAX && !outbox_is_held_up(&ch->outbox);
}

int channel_append_keys(channel_t *ch, const char *body, size_t length) {
  return put_frame(ch, FRAME_KEYS, body, length, -1) ? 0 : UV_ENOMEM;
}

int channel_wait(channel_t *ch, int ref) {
  callback_wait_t *wait = malloc(sizeof *wait);
  if (!wait) return UV_ENOMEM;
  wait->position = ch->outbox.appended;
  wait->ref = ref;
  STAILQ_INSERT_TAIL(&ch->waits, wait, link);
  channel_schedule_flush(ch);
  return 0;
}

bool channel_answered(channel_t *ch, bool taken) {
  bool lost = outbox_answered(&ch->outbox, taken) == -1;
  channel_schedule_flush(ch);
  return !lost;
}
