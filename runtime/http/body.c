/* http/body.c: see http/body.h.
 *
 * Chunk framing is ours and not llhttp's: one size line is hex digits, perhaps extensions (well formed, limited,
 * ignored), CR, LF. Nothing else may stand there. */
#include "http/body.h"
#include "http/grammar.h"
#include "http/lines.h"

#include <string.h>

enum { LARGEST_CHUNK_DIGITS = 13 }; /* 2^52 - 1: exact in a Lua number */

/* Where in a chunk extension: *( ";" name [ "=" ( token / quoted string ) ] ), without spaces. */
enum { AT_NAME, IN_NAME, AT_VALUE, IN_VALUE, IN_QUOTES, BEHIND_BACKSLASH, BEHIND_QUOTES };

void http_body_begin_chunk(http_parser_t *p) {
  p->state = HTTP_STATE_CHUNK_SIZE;
  p->left = 0;
  p->digits = 0;
}

static http_event_kind_t bad_size(http_parser_t *p) {
  return http_fail(p, 400, "HPE_INVALID_CHUNK_SIZE", "Invalid character in chunk size");
}

static http_event_kind_t size_byte(http_parser_t *p, char c) {
  int digit = http_hex_digit(c);
  if (digit >= 0) {
    if (++p->digits > LARGEST_CHUNK_DIGITS)
      return http_fail(p, 400, "HPE_INVALID_CHUNK_SIZE", "Chunk size overflow");
    p->left = p->left * 16 + (uint64_t)digit;
    return HTTP_EV_MORE;
  }
  if (p->digits == 0) return bad_size(p);
  if (c == '\r') p->state = HTTP_STATE_CHUNK_SIZE_LF;
  else if (c == ';') p->state = HTTP_STATE_CHUNK_EXTENSION, p->within = AT_NAME;
  else return bad_size(p);
  return HTTP_EV_MORE;
}

/* Where in an extension the byte leads, -1 for nowhere. */
static int extension_step(uint8_t within, unsigned char c) {
  bool complete = within == IN_NAME || within == IN_VALUE || within == BEHIND_QUOTES;
  if (complete && c == ';') return AT_NAME;
  switch (within) {
  case AT_NAME: return http_is_token(c) ? IN_NAME : -1;
  case IN_NAME: return c == '=' ? AT_VALUE : http_is_token(c) ? IN_NAME : -1;
  case AT_VALUE: return c == '"' ? IN_QUOTES : http_is_token(c) ? IN_VALUE : -1;
  case IN_VALUE: return http_is_token(c) ? IN_VALUE : -1;
  case IN_QUOTES:
    return c == '"' ? BEHIND_QUOTES : c == '\\' ? BEHIND_BACKSLASH : http_is_text(c) ? IN_QUOTES : -1;
  case BEHIND_BACKSLASH: return http_is_text(c) ? IN_QUOTES : -1;
  default: return -1;
  }
}

static http_event_kind_t extension_byte(http_parser_t *p, char c) {
  if (c == '\r' && (p->within == IN_NAME || p->within == IN_VALUE || p->within == BEHIND_QUOTES)) {
    p->state = HTTP_STATE_CHUNK_SIZE_LF;
    return HTTP_EV_MORE;
  }
  int next = extension_step(p->within, (unsigned char)c);
  if (next < 0) return http_fail(p, 400, "HPE_INVALID_CHUNK_SIZE", "Invalid character in chunk extensions");
  p->within = (uint8_t)next;
  if (++p->extension > p->max_head) {
    return http_fail(p, 413, "HPE_CHUNK_EXTENSIONS_OVERFLOW", "Chunk extensions overflow");
  }
  return HTTP_EV_MORE;
}

static void size_done(http_parser_t *p) {
  if (p->left > 0) {
    p->state = HTTP_STATE_CHUNK_DATA;
    return;
  }
  p->state = HTTP_STATE_TRAILER_START;
}

http_event_kind_t http_body_size_line(http_parser_t *p, const char *data, size_t len, size_t *used) {
  for (size_t i = 0; i < len; i++) {
    http_event_kind_t kind = HTTP_EV_MORE;
    if (p->state == HTTP_STATE_CHUNK_SIZE) kind = size_byte(p, data[i]);
    else if (p->state == HTTP_STATE_CHUNK_EXTENSION) kind = extension_byte(p, data[i]);
    else if (data[i] != '\n') kind = bad_size(p);
    else kind = HTTP_EV_BODY;
    *used = i + 1;
    if (kind == HTTP_EV_FAULT) return kind;
    if (kind == HTTP_EV_BODY) {
      size_done(p);
      return kind;
    }
  }
  return HTTP_EV_MORE;
}

static http_event_kind_t piece(http_parser_t *p, const char *data, size_t len, http_event_t *ev) {
  if (len == 0) return HTTP_EV_MORE;
  if (p->state != HTTP_STATE_UNTIL_EOF) {
    if (len > p->left) len = (size_t)p->left;
    p->left -= len;
    if (p->left == 0) p->state = p->state == HTTP_STATE_LENGTH ? HTTP_STATE_NO_BODY : HTTP_STATE_CHUNK_CR;
  }
  ev->data = data;
  ev->len = len;
  ev->used += len;
  return HTTP_EV_BODY;
}

/* Held like a head: the empty line may come much later than the fields. */
static http_event_kind_t trailer(http_parser_t *p, const char *data, size_t len, http_event_t *ev) {
  if (len == 0) return HTTP_EV_MORE;
  if (p->state == HTTP_STATE_TRAILER_START) {
    p->state = HTTP_STATE_TRAILER;
    buffer_free(&p->held);
    p->line = p->scanned = 0;
    p->fields = 0;
  }
  size_t before = p->held.len;
  size_t take = len;
  if (before + take > (size_t)p->max_head + 1) take = (size_t)p->max_head + 1 - before;
  if (buffer_add(&p->held, data, take) < 0) return http_fail(p, 431, "HPE_USER", "Out of memory");
  size_t size = 0;
  http_event_kind_t kind = http_scan_lines(p, p->held.data, p->held.len, &size);
  if (kind == HTTP_EV_FAULT) return kind;
  if (kind == HTTP_EV_MORE) {
    ev->used += take;
    return kind;
  }
  ev->used += size - before;
  ev->data = p->held.data;
  ev->len = size - 2;
  return HTTP_EV_END;
}

http_event_kind_t http_body_next(http_parser_t *p, const char *data, size_t len, http_event_t *ev) {
  for (;;) {
    const char *at = data + ev->used;
    size_t rest = len - ev->used;
    size_t used = 0;
    http_event_kind_t kind = HTTP_EV_MORE;
    switch (p->state) {
    case HTTP_STATE_LENGTH:
    case HTTP_STATE_UNTIL_EOF:
    case HTTP_STATE_CHUNK_DATA: return piece(p, at, rest, ev);
    case HTTP_STATE_TRAILER_START:
    case HTTP_STATE_TRAILER: return trailer(p, at, rest, ev);
    case HTTP_STATE_CHUNK_CR:
    case HTTP_STATE_CHUNK_LF:
      if (rest == 0) return HTTP_EV_MORE;
      if (*at != (p->state == HTTP_STATE_CHUNK_CR ? '\r' : '\n')) {
        return http_fail(p, 400, "HPE_STRICT", "Expected CRLF after chunk data");
      }
      ev->used++;
      if (p->state == HTTP_STATE_CHUNK_CR) p->state = HTTP_STATE_CHUNK_LF;
      else http_body_begin_chunk(p);
      break;
    default:
      kind = http_body_size_line(p, at, rest, &used);
      ev->used += used;
      if (kind != HTTP_EV_BODY) return kind;
      break;
    }
  }
}
