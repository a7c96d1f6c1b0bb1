/* websocket/parser.c: see websocket/parser.h. A frame is its head, then payload as it comes; a head is judged as soon as
 * its first two bytes are there. A message that lies in the bytes as one whole frame takes a shorter way (take_whole). */
#include "websocket/parser.h"

#include "websocket/mask.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum {
  RESERVE_MAX = 256 * 1024,      /* of a message is made room for before it comes */
  COMPRESSED_SURPLUS = 64 * 1024 /* that a compressed message may be longer than what it says */
};

void ws_parser_init(ws_parser_t *p, ws_workshop_t *workshop, bool server, uint64_t max_payload) {
  memset(p, 0, sizeof *p);
  p->workshop = workshop;
  p->server = server;
  p->max_payload = max_payload;
}

/* Memory ---------------------------------------------------------------------------------------------- */

static void rest(buffer_t *scratch) {
  scratch->len = 0;
  if (scratch->cap > WS_SCRATCH_KEPT) buffer_free(scratch);
}

void ws_parser_drop(ws_parser_t *p) {
  rest(&p->workshop->scratch);
  rest(&p->workshop->inflated);
  if (p->message_op == 0 && p->message.data != NULL) buffer_free(&p->message);
  if (!p->in_payload && p->control != NULL) {
    free(p->control);
    p->control = NULL;
  }
}

static void drop_inflater(ws_parser_t *p) {
  if (p->inflater == NULL) return;
  ws_inflater_give(&p->workshop->inflaters, p->inflater);
  p->inflater = NULL;
}

void ws_parser_free(ws_parser_t *p) {
  buffer_free(&p->message);
  free(p->control);
  p->control = NULL;
  drop_inflater(p);
}

void ws_workshop_free(ws_workshop_t *workshop) {
  buffer_free(&workshop->scratch);
  buffer_free(&workshop->inflated);
  ws_inflaters_free(&workshop->inflaters);
}

/* Faults ---------------------------------------------------------------------------------------------- */

/* Kept out of the way of what goes well: the compiler would get the texts ready for each message. */
#define COLD __attribute__((cold, noinline))

COLD static ws_event_kind_t fail(ws_parser_t *p, uint16_t status, const char *code, const char *reason) {
  p->workshop->fault = (ws_fault_t){status, code, reason, -1};
  p->failed = true;
  return WS_EV_FAULT;
}

COLD static ws_event_kind_t fail_frame(ws_parser_t *p, const char *code, const char *reason, int64_t number) {
  p->workshop->fault = (ws_fault_t){WS_PROTOCOL_ERROR, code, reason, number};
  p->failed = true;
  return WS_EV_FAULT;
}

COLD static ws_event_kind_t out_of_memory(ws_parser_t *p) {
  return fail(p, WS_TOO_BIG, "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH", "not enough memory for the message");
}

COLD static ws_event_kind_t too_big(ws_parser_t *p) {
  return fail(p, WS_TOO_BIG, "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH", "Max payload size exceeded");
}

COLD static ws_event_kind_t no_text(ws_parser_t *p) {
  return fail(p, WS_INVALID_DATA, "WS_ERR_INVALID_UTF8", "Invalid WebSocket frame: invalid UTF-8 sequence");
}

/* Heads ----------------------------------------------------------------------------------------------- */

static ws_event_kind_t check_control(ws_parser_t *p, unsigned len) {
  if (!p->fin) return fail_frame(p, "WS_ERR_EXPECTED_FIN", "FIN must be set", -1);
  if (len > WS_CONTROL_MAX || (p->op == WS_CLOSE && len == 1))
    return fail_frame(p, "WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH", "invalid payload length", len);
  return WS_EV_MORE;
}

static ws_event_kind_t check_data(ws_parser_t *p, bool rsv1) {
  if (rsv1 && p->inflate.window == 0)
    return fail_frame(p, "WS_ERR_UNEXPECTED_RSV_1", "RSV1 must be clear", -1);
  bool begins = p->op != WS_CONTINUATION;
  if (begins == (p->message_op != 0)) return fail_frame(p, "WS_ERR_INVALID_OPCODE", "invalid opcode", p->op);
  return WS_EV_MORE;
}

/* The first two bytes. */
static ws_event_kind_t check_head(ws_parser_t *p) {
  unsigned first = p->head[0], second = p->head[1], len = second & 0x7f;
  p->op = first & WS_OPCODE;
  p->fin = (first & WS_FIN) != 0;
  bool rsv1 = (first & WS_RSV1) != 0, control = (p->op & 8) != 0;
  if ((first & 0x30) != 0)
    return fail_frame(p, "WS_ERR_UNEXPECTED_RSV_2_3", "RSV2 and RSV3 must be clear", -1);
  if (rsv1 && (control || p->op == WS_CONTINUATION))
    return fail_frame(p, "WS_ERR_UNEXPECTED_RSV_1", "RSV1 must be clear", -1);
  if (control ? p->op > WS_PONG : p->op > WS_BINARY)
    return fail_frame(p, "WS_ERR_INVALID_OPCODE", "invalid opcode", p->op);
  ws_event_kind_t kind = control ? check_control(p, len) : check_data(p, rsv1);
  if (kind != WS_EV_MORE) return kind;
  bool masked = (second & WS_MASKED) != 0;
  if (p->server && !masked) return fail_frame(p, "WS_ERR_EXPECTED_MASK", "MASK must be set", -1);
  if (!p->server && masked) return fail_frame(p, "WS_ERR_UNEXPECTED_MASK", "MASK must be clear", -1);
  return WS_EV_MORE;
}

/* How long the head is, of which two bytes are there. */
static unsigned head_size(const ws_parser_t *p) {
  unsigned len = p->head[1] & 0x7f;
  return 2 + (len == 126 ? 2 : len == 127 ? 8 : 0) + (p->server ? 4 : 0);
}

static uint64_t big_endian(const uint8_t *from, unsigned bytes) {
  uint64_t n = 0;
  for (unsigned i = 0; i < bytes; i++) n = n << 8 | from[i];
  return n;
}

/* A message may grow by this frame. */
static ws_event_kind_t count(ws_parser_t *p) {
  uint64_t limit = p->max_payload;
  if (p->compressed) limit += limit / 64 + COMPRESSED_SURPLUS;
  if (p->left > limit || p->size > limit - p->left) return too_big(p);
  p->size += p->left;
  return WS_EV_MORE;
}

static ws_event_kind_t begin_message(ws_parser_t *p) {
  p->message_op = p->op;
  p->compressed = (p->head[0] & WS_RSV1) != 0;
  p->utf8 = (utf8_t){0};
  p->size = 0;
  if (!p->compressed || p->inflater != NULL) return WS_EV_MORE;
  p->inflater = ws_inflater_take(&p->workshop->inflaters, p->inflate.window);
  return p->inflater != NULL ? WS_EV_MORE : out_of_memory(p);
}

/* The whole head is there. */
static ws_event_kind_t begin_frame(ws_parser_t *p) {
  unsigned len = p->head[1] & 0x7f, bytes = len == 126 ? 2 : len == 127 ? 8 : 0;
  p->left = bytes > 0 ? big_endian(p->head + 2, bytes) : len;
  if ((bytes == 2 && p->left < 126) || (bytes == 8 && (p->left < 65536 || p->left >> 63 != 0)))
    return fail_frame(p, "WS_ERR_INVALID_PAYLOAD_LENGTH", "the payload length is not in its shortest form",
                      -1);
  if (p->server) memcpy(p->key, p->head + 2 + bytes, sizeof p->key);
  p->mask_at = 0;
  p->control_len = 0;
  p->head_len = 0;
  p->in_payload = true;
  if ((p->op & 8) != 0) return WS_EV_MORE;
  ws_event_kind_t kind = p->op != WS_CONTINUATION ? begin_message(p) : WS_EV_MORE;
  return kind == WS_EV_MORE ? count(p) : kind;
}

/* Takes bytes until the head has `size` of them. */
static bool fill_head(ws_parser_t *p, const char *in, size_t len, size_t *at, unsigned size) {
  size_t n = size - p->head_len;
  if (n > len - *at) n = len - *at;
  memcpy(p->head + p->head_len, in + *at, n);
  p->head_len = (uint8_t)(p->head_len + n);
  *at += n;
  return p->head_len == size;
}

static ws_event_kind_t take_head(ws_parser_t *p, const char *in, size_t len, size_t *at) {
  if (p->head_len < 2) {
    if (!fill_head(p, in, len, at, 2)) return WS_EV_MORE;
    ws_event_kind_t kind = check_head(p);
    if (kind != WS_EV_MORE) return kind;
  }
  return fill_head(p, in, len, at, head_size(p)) ? begin_frame(p) : WS_EV_MORE;
}

/* Control frames -------------------------------------------------------------------------------------- */

bool ws_close_code_valid(unsigned code) {
  return (code >= 1000 && code <= 1014 && code != 1004 && code != WS_NO_STATUS && code != WS_ABNORMAL) ||
         (code >= 3000 && code <= 4999);
}

static ws_event_kind_t close_event(ws_parser_t *p, ws_event_t *ev) {
  ev->status = WS_NO_STATUS;
  if (ev->len == 0) return WS_EV_CLOSE;
  ev->status = (uint16_t)big_endian((const uint8_t *)ev->data, 2);
  if (!ws_close_code_valid(ev->status))
    return fail_frame(p, "WS_ERR_INVALID_CLOSE_CODE", "invalid status code", ev->status);
  ev->data += 2;
  ev->len -= 2;
  utf8_t utf8 = {0};
  if (!utf8_take(&utf8, ev->data, ev->len) || !utf8_whole(&utf8)) return no_text(p);
  return WS_EV_CLOSE;
}

static ws_event_kind_t take_control(ws_parser_t *p, const char *in, size_t len, size_t *at, ws_event_t *ev) {
  size_t n = p->left < len - *at ? (size_t)p->left : len - *at;
  bool whole = p->control_len == 0 && n == p->left;
  char *to;
  if (whole) {
    to = buffer_room(&p->workshop->scratch, n + 1);
  } else {
    if (p->control == NULL) p->control = malloc(WS_CONTROL_MAX);
    to = p->control != NULL ? p->control + p->control_len : NULL;
  }
  if (to == NULL) return out_of_memory(p);
  if (p->server) ws_mask(to, in + *at, n, p->key, p->control_len);
  else memcpy(to, in + *at, n);
  *at += n;
  p->left -= n;
  p->control_len = (uint8_t)(p->control_len + n);
  if (p->left > 0) return WS_EV_MORE;
  p->in_payload = false;
  ev->data = whole ? to : p->control;
  ev->len = p->control_len;
  if (p->op == WS_CLOSE) return close_event(p, ev);
  return p->op == WS_PING ? WS_EV_PING : WS_EV_PONG;
}

/* Messages -------------------------------------------------------------------------------------------- */

/* The bytes that came, unmasked: in scratch memory, or where they lie. NULL when memory is out. */
static const char *plain(ws_parser_t *p, const char *data, size_t len) {
  if (!p->server) return data;
  p->workshop->scratch.len = 0;
  char *to = buffer_room(&p->workshop->scratch, len + 1);
  if (to == NULL) return NULL;
  ws_mask(to, data, len, p->key, p->mask_at);
  p->mask_at = (uint8_t)((p->mask_at + len) & 3);
  return to;
}

static ws_event_kind_t inflate_fault(ws_parser_t *p, int rc) {
  if (rc == UV_E2BIG) return too_big(p);
  if (rc == UV_ENOMEM) return out_of_memory(p);
  return fail(p, WS_INVALID_DATA, "WS_ERR_INVALID_DEFLATE",
              "Invalid WebSocket frame: invalid compressed data");
}

/* A frame's bytes, or some of them, to the message's. */
static ws_event_kind_t collect(ws_parser_t *p, const char *data, size_t len, bool last, buffer_t *to) {
  size_t before = to->len;
  if (len == 0 && !p->compressed) return WS_EV_MORE;
  if (p->compressed) {
    int rc = ws_inflate(p->inflater, data, len, last, to, p->max_payload);
    if (rc < 0) return inflate_fault(p, rc);
  } else {
    uint64_t expected = len + p->left;
    if (buffer_room(to, expected < RESERVE_MAX ? (size_t)expected : len) == NULL ||
        buffer_add(to, data, len) < 0)
      return out_of_memory(p);
  }
  bool text = p->message_op == WS_TEXT && to->len > before;
  return text && !utf8_take(&p->utf8, to->data + before, to->len - before) ? no_text(p) : WS_EV_MORE;
}

static ws_event_kind_t message_event(ws_parser_t *p, const char *data, size_t len, ws_event_t *ev) {
  if (p->message_op == WS_TEXT && !utf8_whole(&p->utf8)) return no_text(p);
  ev->data = data != NULL ? data : "";
  ev->len = len;
  ev->binary = p->message_op == WS_BINARY;
  p->message_op = 0;
  if (!p->inflate.takeover) drop_inflater(p);
  return WS_EV_MESSAGE;
}

static ws_event_kind_t take_data(ws_parser_t *p, const char *in, size_t len, size_t *at, ws_event_t *ev) {
  size_t n = p->left < len - *at ? (size_t)p->left : len - *at;
  bool at_once = p->op != WS_CONTINUATION && p->fin && n == p->size; /* the whole message is in these bytes */
  const char *data = plain(p, in + *at, n);
  if (data == NULL) return out_of_memory(p);
  *at += n;
  p->left -= n;
  bool last = p->left == 0 && p->fin;
  if (p->left == 0) p->in_payload = false;
  if (at_once && !p->compressed) {
    if (p->message_op == WS_TEXT && !utf8_take(&p->utf8, data, n)) return no_text(p);
    return message_event(p, data, n, ev);
  }
  buffer_t *to = at_once ? &p->workshop->inflated : &p->message;
  if (at_once) to->len = 0;
  ws_event_kind_t kind = collect(p, data, n, last, to);
  if (kind != WS_EV_MORE || !last) return kind;
  return message_event(p, to->data, to->len, ev);
}

/* What most messages are: one frame, not compressed, that lies in the bytes as a whole. False, and nothing is taken, for
 * any other. */
static bool take_whole(ws_parser_t *p, const char *in, size_t len, ws_event_t *ev, ws_event_kind_t *kind) {
  if (p->in_payload || p->head_len > 0 || p->message_op != 0 || len < 4) return false;
  const uint8_t *head = (const uint8_t *)in;
  bool text = head[0] == (WS_FIN | WS_TEXT);
  size_t size = head[1] & 0x7f, at = 2, mask = p->server ? 4 : 0;
  if ((!text && head[0] != (WS_FIN | WS_BINARY)) || (head[1] & WS_MASKED) != (p->server ? WS_MASKED : 0))
    return false;
  if (size >= 126) {
    if (size == 127) return false;
    size = (size_t)(head[2] << 8 | head[3]);
    at = 4;
    if (size < 126) return false;
  }
  if (len - at < mask + size || size > p->max_payload) return false;
  ev->used = at + mask + size;
  ev->data = in + at;
  ev->len = size;
  ev->binary = !text;
  *kind = WS_EV_MESSAGE;
  bool ascii = false;
  if (p->server) {
    p->workshop->scratch.len = 0;
    char *to = buffer_room(&p->workshop->scratch, size + 1);
    if (to == NULL) return false;
    ascii = ws_mask(to, in + at + mask, size, head + at, 0);
    ev->data = to;
  }
  utf8_t utf8 = {0};
  if (text && !ascii && !(utf8_take(&utf8, ev->data, size) && utf8_whole(&utf8))) *kind = no_text(p);
  return true;
}

ws_event_kind_t ws_parser_next(ws_parser_t *p, const char *in, size_t len, ws_event_t *ev) {
  size_t at = 0;
  ws_event_kind_t kind = p->failed ? WS_EV_FAULT : WS_EV_MORE;
  if (kind == WS_EV_MORE && take_whole(p, in, len, ev, &kind)) return kind;
  while (kind == WS_EV_MORE) {
    if (!p->in_payload) kind = take_head(p, in, len, &at);
    if (kind != WS_EV_MORE || !p->in_payload) break;
    if (at == len && p->left > 0) break;
    kind = (p->op & 8) != 0 ? take_control(p, in, len, &at, ev) : take_data(p, in, len, &at, ev);
  }
  ev->used = at;
  return kind;
}
