/* http/body.c: message bodies: of known length, chunked, or up to the connection's end; and the character
 * classes.
 *
 * Chunk framing is ours and not llhttp's: one size line is hex digits, perhaps extensions after a semicolon
 * (ignored, limited), CR, LF. Nothing else may stand there. */
#include "http/grammar.h"

#include <string.h>

enum { LARGEST_CHUNK_DIGITS = 13 };  /* 2^52 - 1: exact in a Lua number */
enum { MAX_EXTENSIONS = 16 * 1024 }; /* bytes of extensions in one message */

enum { TOKEN = HTTP_TOKEN, TEXT = HTTP_TEXT, HOST = HTTP_HOST, PLAIN = HTTP_PLAIN };

/* 0: refused everywhere. Bytes above 127 are text only. */
const unsigned char http_classes[256] = {
    ['\t'] = TEXT,
    [' '] = TEXT,
    ['!'] = TOKEN | TEXT | HOST | PLAIN,
    ['"'] = TEXT,
    ['#'] = TOKEN | TEXT,
    ['$'] = TOKEN | TEXT | HOST | PLAIN,
    ['%'] = TOKEN | TEXT | HOST | PLAIN,
    ['&'] = TOKEN | TEXT | HOST | PLAIN,
    ['\''] = TOKEN | TEXT | HOST | PLAIN,
    ['('] = TEXT | HOST | PLAIN,
    [')'] = TEXT | HOST | PLAIN,
    ['*'] = TOKEN | TEXT | HOST | PLAIN,
    ['+'] = TOKEN | TEXT | HOST | PLAIN,
    [','] = TEXT | PLAIN,
    ['-'] = TOKEN | TEXT | HOST | PLAIN,
    ['.'] = TOKEN | TEXT | HOST | PLAIN,
    ['/'] = TEXT | PLAIN,
    ['0' ... '9'] = TOKEN | TEXT | HOST | PLAIN,
    [':'] = TEXT | HOST | PLAIN,
    [';'] = TEXT | HOST | PLAIN,
    ['<'] = TEXT,
    ['='] = TEXT | PLAIN,
    ['>'] = TEXT,
    ['?'] = TEXT | PLAIN,
    ['@'] = TEXT | PLAIN,
    ['A' ... 'Z'] = TOKEN | TEXT | HOST | PLAIN,
    ['['] = TEXT | HOST,
    ['\\'] = TEXT,
    [']'] = TEXT | HOST,
    ['^'] = TOKEN | TEXT,
    ['_'] = TOKEN | TEXT | HOST | PLAIN,
    ['`'] = TOKEN | TEXT,
    ['a' ... 'z'] = TOKEN | TEXT | HOST | PLAIN,
    ['{'] = TEXT,
    ['|'] = TOKEN | TEXT,
    ['}'] = TEXT,
    ['~'] = TOKEN | TEXT | HOST | PLAIN,
    [128 ... 255] = TEXT,
};

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void http_body_begin_chunk(http_parser_t *p) {
  p->state = HTTP_STATE_CHUNK_SIZE;
  p->left = 0;
  p->digits = 0;
}

static http_event_kind_t bad_size(http_parser_t *p) {
  return http_fail(p, 400, "HPE_INVALID_CHUNK_SIZE", "Invalid character in chunk size");
}

static http_event_kind_t size_byte(http_parser_t *p, char c) {
  int digit = hex_digit(c);
  if (digit >= 0) {
    if (++p->digits > LARGEST_CHUNK_DIGITS)
      return http_fail(p, 400, "HPE_INVALID_CHUNK_SIZE", "Chunk size overflow");
    p->left = p->left * 16 + (uint64_t)digit;
    return HTTP_EV_MORE;
  }
  if (p->digits == 0) return bad_size(p);
  if (c == '\r') p->state = HTTP_STATE_CHUNK_SIZE_LF;
  else if (c == ';') p->state = HTTP_STATE_CHUNK_EXTENSION;
  else return bad_size(p);
  return HTTP_EV_MORE;
}

static http_event_kind_t extension_byte(http_parser_t *p, char c) {
  if (c == '\r') {
    p->state = HTTP_STATE_CHUNK_SIZE_LF;
    return HTTP_EV_MORE;
  }
  if (!http_is_text((unsigned char)c)) return bad_size(p);
  if (++p->extension > MAX_EXTENSIONS) {
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
