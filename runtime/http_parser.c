/* http_parser.c: heads judged by llhttp and by our own stricter rules, bodies by http_body.c.
 *
 * A head is looked at line by line (CRLF only, no control bytes, no fold, a token before the colon,
 * framing fields once and well-formed) and, when it is whole, as a whole by llhttp, which knows methods,
 * targets and Connection. Both must agree that it is good. A head inside one read is not copied; one in
 * pieces is held. */
#include "http_parser.h"
#include "http_grammar.h"

#include <llhttp.h>
#include <string.h>
#include <strings.h>

enum {
  SEEN_HOST = 1,
  SEEN_LENGTH = 2,
  SEEN_CODING = 4,
  SEEN_FINAL_CHUNKED = 8,
  SEEN_KEEP_ALIVE = 16, /* Connection: keep-alive and nothing else */
  SEEN_CLOSE = 32,      /* Connection: close and nothing else */
  SEEN_ODD = 64         /* something that llhttp has to judge */
};

enum { LARGEST_LENGTH_DIGITS = 15 }; /* any number of so many digits is exact in a Lua number */

/* What llhttp knows when a head is complete; it forgets its flags at the end of a message without body. */
typedef struct {
  bool complete, says_close, says_keep_alive;
} verdict_t;

static int on_headers_complete(llhttp_t *ll) {
  verdict_t *verdict = ll->data;
  verdict->complete = true;
  verdict->says_close = (ll->flags & F_CONNECTION_CLOSE) != 0;
  verdict->says_keep_alive = (ll->flags & F_CONNECTION_KEEP_ALIVE) != 0;
  return 0;
}

static const llhttp_settings_t judge_settings = {.on_headers_complete = on_headers_complete};

void http_parser_init(http_parser_t *p, http_role_t role, uint32_t max_head, uint32_t max_fields) {
  memset(p, 0, sizeof(*p));
  p->role = role;
  p->max_head = max_head;
  p->max_fields = max_fields;
  p->state = HTTP_STATE_START;
}

void http_parser_free(http_parser_t *p) { http_buffer_free(&p->held); }

http_event_kind_t http_fail(http_parser_t *p, int status, const char *code, const char *reason) {
  p->state = HTTP_STATE_DEAD;
  p->fault.status = status;
  p->fault.code = code;
  p->fault.reason = reason;
  http_buffer_free(&p->held);
  return HTTP_EV_FAULT;
}

static http_event_kind_t fail_line(http_parser_t *p, const char *code, const char *reason) {
  return http_fail(p, 400, code, reason);
}

enum { HTTP_UNKNOWN_METHOD = 255 };

static uint8_t common_method(const char *s, size_t len) {
  if (len == 3 && memcmp(s, "GET", 3) == 0) return HTTP_GET;
  if (len == 4 && memcmp(s, "POST", 4) == 0) return HTTP_POST;
  if (len == 4 && memcmp(s, "HEAD", 4) == 0) return HTTP_HEAD;
  if (len == 3 && memcmp(s, "PUT", 3) == 0) return HTTP_PUT;
  if (len == 6 && memcmp(s, "DELETE", 6) == 0) return HTTP_DELETE;
  return HTTP_UNKNOWN_METHOD;
}

/* METHOD SP target SP HTTP/1.x, one space each. */
static http_event_kind_t request_line(http_parser_t *p, const char *line, size_t len) {
  const char *end = line + len;
  const char *s = line;
  while (s < end && *s != ' ') {
    if (!http_is_token((unsigned char)*s))
      return fail_line(p, "HPE_INVALID_METHOD", "Invalid method encountered");
    s++;
  }
  if (s == line || s == end) return fail_line(p, "HPE_INVALID_METHOD", "Invalid method encountered");
  p->method = common_method(line, (size_t)(s - line));
  const char *target = ++s;
  while (s < end && http_is_plain((unsigned char)*s)) s++;
  if (p->method == HTTP_UNKNOWN_METHOD || *target != '/' || s == end || *s != ' ') p->seen |= SEEN_ODD;
  while (s < end && (unsigned char)*s > ' ' && *s != 127) s++;
  if (s == target || s == end || *s != ' ') return fail_line(p, "HPE_INVALID_URL", "Invalid request target");
  p->target = (uint32_t)(target - line);
  p->target_len = (uint32_t)(s - target);
  if (memchr(target, '#', p->target_len))
    return fail_line(p, "HPE_INVALID_URL", "Fragment in request target");
  s++;
  if (end - s != 8 || memcmp(s, "HTTP/", 5) != 0 || s[6] != '.' || !http_is_digit(s[5]) ||
      !http_is_digit(s[7])) {
    return fail_line(p, "HPE_INVALID_VERSION", "Invalid HTTP version");
  }
  if (s[5] > '1') return http_fail(p, 505, "HPE_INVALID_VERSION", "HTTP version not supported");
  if (s[5] != '1' || s[7] > '1') return fail_line(p, "HPE_INVALID_VERSION", "Invalid HTTP version");
  p->minor = (uint8_t)(s[7] - '0');
  return HTTP_EV_MORE;
}

/* HTTP/1.x SP three digits, perhaps SP and a reason. */
static http_event_kind_t status_line(http_parser_t *p, const char *line, size_t len) {
  bool good =
      len >= 12 && memcmp(line, "HTTP/1.", 7) == 0 && (line[7] == '0' || line[7] == '1') && line[8] == ' ';
  for (size_t i = 9; good && i < 12; i++) good = http_is_digit(line[i]);
  if (good && len > 12) good = line[12] == ' ';
  for (size_t i = 12; good && i < len; i++) good = http_is_text((unsigned char)line[i]);
  return good ? HTTP_EV_MORE : fail_line(p, "HPE_INVALID_STATUS", "Invalid status line");
}

static http_event_kind_t content_length(http_parser_t *p, const char *value, size_t len) {
  if (p->seen & SEEN_LENGTH)
    return fail_line(p, "HPE_UNEXPECTED_CONTENT_LENGTH", "Content-Length already present");
  p->seen |= SEEN_LENGTH;
  if (len == 0 || len > LARGEST_LENGTH_DIGITS) {
    return fail_line(p, "HPE_INVALID_CONTENT_LENGTH", "Invalid Content-Length");
  }
  uint64_t n = 0;
  for (size_t i = 0; i < len; i++) {
    if (!http_is_digit(value[i])) return fail_line(p, "HPE_INVALID_CONTENT_LENGTH", "Invalid Content-Length");
    n = n * 10 + (uint64_t)(value[i] - '0');
  }
  p->length = n;
  return HTTP_EV_MORE;
}

/* A request may be chunked and nothing else; a response may have other codings before that. */
static http_event_kind_t transfer_coding(http_parser_t *p, const char *value, size_t len) {
  if (p->role == HTTP_PARSE_REQUESTS) {
    if (p->seen & SEEN_CODING)
      return fail_line(p, "HPE_INVALID_TRANSFER_ENCODING", "Transfer-Encoding already present");
    if (len != 7 || strncasecmp(value, "chunked", 7) != 0) {
      return fail_line(p, "HPE_INVALID_TRANSFER_ENCODING", "Request has invalid `Transfer-Encoding`");
    }
    p->seen |= SEEN_FINAL_CHUNKED;
  } else {
    bool final = len >= 7 && strncasecmp(value + len - 7, "chunked", 7) == 0 &&
                 (len == 7 || value[len - 8] == ' ' || value[len - 8] == ',' || value[len - 8] == '\t');
    p->seen = (uint8_t)(final ? p->seen | SEEN_FINAL_CHUNKED : p->seen & ~SEEN_FINAL_CHUNKED);
  }
  p->seen |= SEEN_CODING;
  return HTTP_EV_MORE;
}

/* One host with perhaps a port: no list, no space, no path, nothing that two readers could take differently.
 */
static http_event_kind_t host_field(http_parser_t *p, const char *value, size_t len) {
  if (p->seen & SEEN_HOST) return fail_line(p, "HPE_INVALID_HEADER_TOKEN", "Host already present");
  p->seen |= SEEN_HOST;
  for (size_t i = 0; i < len; i++) {
    if (!http_is_host((unsigned char)value[i]))
      return fail_line(p, "HPE_INVALID_HEADER_TOKEN", "Invalid Host");
  }
  return HTTP_EV_MORE;
}

static void connection_field(http_parser_t *p, const char *value, size_t len) {
  if (p->seen & (SEEN_KEEP_ALIVE | SEEN_CLOSE)) p->seen |= SEEN_ODD;
  else if (len == 10 && strncasecmp(value, "keep-alive", 10) == 0) p->seen |= SEEN_KEEP_ALIVE;
  else if (len == 5 && strncasecmp(value, "close", 5) == 0) p->seen |= SEEN_CLOSE;
  else p->seen |= SEEN_ODD;
}

static http_event_kind_t framing_field(http_parser_t *p, const char *name, size_t nlen, const char *value,
                                       size_t len) {
  bool request = p->role == HTTP_PARSE_REQUESTS;
  switch (nlen) {
  case 4: return request && strncasecmp(name, "host", 4) == 0 ? host_field(p, value, len) : HTTP_EV_MORE;
  case 6:
    if (request && strncasecmp(name, "expect", 6) == 0) {
      p->expect = true;
      p->expect_100 = len == 12 && strncasecmp(value, "100-continue", 12) == 0;
    }
    return HTTP_EV_MORE;
  case 7:
    if (strncasecmp(name, "upgrade", 7) == 0) p->seen |= SEEN_ODD;
    return HTTP_EV_MORE;
  case 10:
    if (strncasecmp(name, "connection", 10) == 0) connection_field(p, value, len);
    return HTTP_EV_MORE;
  case 16:
    if (strncasecmp(name, "proxy-connection", 16) == 0) p->seen |= SEEN_ODD;
    return HTTP_EV_MORE;
  case 14: return strncasecmp(name, "content-length", 14) == 0 ? content_length(p, value, len) : HTTP_EV_MORE;
  case 17:
    return strncasecmp(name, "transfer-encoding", 17) == 0 ? transfer_coding(p, value, len) : HTTP_EV_MORE;
  default: return HTTP_EV_MORE;
  }
}

/* Trailers may not say again, or otherwise, how the message is framed and where it goes. */
static http_event_kind_t trailer_field(http_parser_t *p, const char *name, size_t nlen) {
  if ((nlen == 4 && strncasecmp(name, "host", 4) == 0) ||
      (nlen == 14 && strncasecmp(name, "content-length", 14) == 0) ||
      (nlen == 17 && strncasecmp(name, "transfer-encoding", 17) == 0)) {
    return fail_line(p, "HPE_INVALID_HEADER_TOKEN", "Framing field in trailers");
  }
  return HTTP_EV_MORE;
}

static http_event_kind_t field_line(http_parser_t *p, const char *line, size_t len) {
  if (line[0] == ' ' || line[0] == '\t') {
    return fail_line(p, "HPE_INVALID_HEADER_TOKEN", "Obsolete line folding is refused");
  }
  size_t n = 0;
  while (n < len && http_is_token((unsigned char)line[n])) n++;
  if (n == 0 || n == len || line[n] != ':')
    return fail_line(p, "HPE_INVALID_HEADER_TOKEN", "Invalid header token");
  const char *value = line + n + 1;
  const char *end = line + len;
  for (const char *s = value; s < end; s++) {
    if (!http_is_text((unsigned char)*s)) {
      return fail_line(p, "HPE_INVALID_HEADER_TOKEN", "Invalid header value char");
    }
  }
  while (value < end && (*value == ' ' || *value == '\t')) value++;
  while (end > value && (end[-1] == ' ' || end[-1] == '\t')) end--;
  if (++p->fields > p->max_fields) return http_fail(p, 431, "HPE_HEADER_OVERFLOW", "Too many header fields");
  if (p->state == HTTP_STATE_TRAILER) return trailer_field(p, line, n);
  return framing_field(p, line, n, value, (size_t)(end - value));
}

/* Goes over the lines of `text` that are complete from p->line on. HTTP_EV_HEAD: the empty line was found,
 * *size is the length with it. */
http_event_kind_t http_scan_lines(http_parser_t *p, const char *text, size_t len, size_t *size) {
  for (;;) {
    const char *from = text + p->scanned;
    const char *nl = memchr(from, '\n', len - p->scanned);
    if (nl == NULL) {
      p->scanned = len;
      if (len > p->max_head) return http_fail(p, 431, "HPE_HEADER_OVERFLOW", "Header overflow");
      return HTTP_EV_MORE;
    }
    const char *line = text + p->line;
    if (nl == line || nl[-1] != '\r') return fail_line(p, "HPE_CR_EXPECTED", "Missing expected CR before LF");
    size_t n = (size_t)(nl - 1 - line);
    size_t next = (size_t)(nl + 1 - text);
    if (next > p->max_head) return http_fail(p, 431, "HPE_HEADER_OVERFLOW", "Header overflow");
    bool first = p->line == 0 && p->state == HTTP_STATE_HEAD;
    if (n == 0 && !first) {
      *size = next;
      return HTTP_EV_HEAD;
    }
    http_event_kind_t kind = HTTP_EV_MORE;
    if (!first) kind = field_line(p, line, n);
    else kind = p->role == HTTP_PARSE_REQUESTS ? request_line(p, line, n) : status_line(p, line, n);
    if (kind == HTTP_EV_FAULT) return kind;
    p->line = p->scanned = next;
  }
}

/* The start of a first line that has not ended yet: enough to tell TLS and other strangers at once. */
static http_event_kind_t peek_first_line(http_parser_t *p, const char *text, size_t len) {
  if (p->line != 0) return HTTP_EV_MORE;
  if (p->role == HTTP_PARSE_RESPONSES) {
    static const char version[] = "HTTP/1.";
    if (memcmp(text, version, len < 7 ? len : 7) != 0)
      return fail_line(p, "HPE_INVALID_CONSTANT", "Expected HTTP/");
    return HTTP_EV_MORE;
  }
  size_t i = 0;
  while (i < len && ((text[i] >= 'A' && text[i] <= 'Z') || text[i] == '-')) i++;
  if (i > 24 || (i < len && (text[i] != ' ' || i == 0))) {
    return fail_line(p, "HPE_INVALID_METHOD", "Invalid method encountered");
  }
  for (; i < len && i < 64; i++) {
    if ((unsigned char)text[i] < ' ' && !(text[i] == '\r' && i == len - 1)) {
      return fail_line(p, "HPE_INVALID_URL", "Invalid characters in request line");
    }
  }
  return HTTP_EV_MORE;
}

/* What follows the head. */
static void choose_body(http_parser_t *p) {
  bool request = p->role == HTTP_PARSE_REQUESTS;
  p->left = p->length;
  p->extension = 0;
  p->chunked = (p->seen & SEEN_FINAL_CHUNKED) != 0;
  p->until_eof = false;
  bool empty = !request && (p->status / 100 == 1 || p->status == 204 || p->status == 304);
  if (empty) p->state = HTTP_STATE_NO_BODY, p->chunked = false;
  else if (p->chunked) http_body_begin_chunk(p);
  else if (!request && ((p->seen & SEEN_CODING) || !p->has_length))
    p->state = HTTP_STATE_UNTIL_EOF, p->until_eof = true;
  else p->state = p->length > 0 ? HTTP_STATE_LENGTH : HTTP_STATE_NO_BODY;
  if (p->until_eof) p->keep_alive = false;
  if (p->upgrade && p->method != HTTP_CONNECT && request && p->state != HTTP_STATE_NO_BODY)
    p->upgrade = false;
}

/* The value of Host in a judged head, or NULL. */
static const char *host_value(const char *head, size_t len, size_t *vlen) {
  const char *end = head + len;
  for (const char *nl = memchr(head, '\n', len); nl != NULL && end - nl > 6;
       nl = memchr(nl + 1, '\n', (size_t)(end - nl - 1))) {
    if (strncasecmp(nl + 1, "host:", 5) != 0) continue;
    const char *value = nl + 6;
    const char *stop = memchr(value, '\r', (size_t)(end - value));
    while (value < stop && (*value == ' ' || *value == '\t')) value++;
    while (stop > value && (stop[-1] == ' ' || stop[-1] == '\t')) stop--;
    *vlen = (size_t)(stop - value);
    return value;
  }
  return NULL;
}

static bool all_host(const char *s, size_t len) {
  for (size_t i = 0; i < len; i++) {
    if (!http_is_host((unsigned char)s[i])) return false;
  }
  return len > 0;
}

/* An absolute target names the host itself: it must be the one that Host names. */
static bool good_absolute(const char *target, size_t len, const char *head, size_t head_len) {
  size_t scheme = 0;
  if (len > 7 && strncasecmp(target, "http://", 7) == 0) scheme = 7;
  else if (len > 8 && strncasecmp(target, "https://", 8) == 0) scheme = 8;
  if (scheme == 0) return false;
  const char *authority = target + scheme;
  size_t n = 0;
  while (scheme + n < len && authority[n] != '/' && authority[n] != '?') n++;
  if (!all_host(authority, n)) return false;
  size_t host_len = 0;
  const char *host = host_value(head, head_len, &host_len);
  return host == NULL || (host_len == n && strncasecmp(host, authority, n) == 0);
}

static http_event_kind_t check_target(http_parser_t *p, const char *head, size_t len) {
  const char *target = head + p->target;
  bool good = true;
  if (p->method == HTTP_CONNECT) good = all_host(target, p->target_len);
  else if (target[0] == '*') good = p->target_len == 1 && p->method == HTTP_OPTIONS;
  else if (target[0] != '/') good = good_absolute(target, p->target_len, head, len);
  return good ? HTTP_EV_MORE : fail_line(p, "HPE_INVALID_URL", "Invalid request target");
}

/* llhttp's verdict on the whole head. */
static http_event_kind_t ask_llhttp(http_parser_t *p, const char *head, size_t len) {
  llhttp_t ll;
  verdict_t verdict = {0};
  llhttp_init(&ll, p->role == HTTP_PARSE_REQUESTS ? HTTP_REQUEST : HTTP_RESPONSE, &judge_settings);
  ll.data = &verdict;
  llhttp_errno_t err = llhttp_execute(&ll, head, len);
  if (err != HPE_OK && err != HPE_PAUSED_UPGRADE) {
    const char *reason = llhttp_get_error_reason(&ll);
    return fail_line(p, llhttp_errno_name(err), reason != NULL ? reason : "Parse Error");
  }
  if (!verdict.complete) return fail_line(p, "HPE_INVALID_HEADER_TOKEN", "Incomplete head");
  if (ll.http_major != 1 || ll.http_minor > 1)
    return fail_line(p, "HPE_INVALID_VERSION", "Invalid HTTP version");
  p->method = ll.method;
  p->minor = ll.http_minor;
  p->status = ll.status_code;
  p->keep_alive = !verdict.says_close && (p->minor == 1 || verdict.says_keep_alive);
  p->upgrade = ll.upgrade != 0;
  return HTTP_EV_HEAD;
}

/* The whole head, once. Of a request with a common method, a plain path and at most one plain Connection
 * header, our own rules have seen all that llhttp looks at (the fuzz target holds them against each other);
 * it judges the rest. */
static http_event_kind_t judge_head(http_parser_t *p, const char *head, size_t len) {
  bool request = p->role == HTTP_PARSE_REQUESTS;
  if (request && !(p->seen & SEEN_ODD)) {
    p->keep_alive = !(p->seen & SEEN_CLOSE) && (p->minor == 1 || (p->seen & SEEN_KEEP_ALIVE));
    p->upgrade = false;
  } else if (ask_llhttp(p, head, len) == HTTP_EV_FAULT) {
    return HTTP_EV_FAULT;
  }
  p->has_length = (p->seen & SEEN_LENGTH) != 0;
  if (request) {
    if (p->minor == 1 && !(p->seen & SEEN_HOST))
      return fail_line(p, "HPE_INVALID_HEADER_TOKEN", "Missing Host");
    if (p->minor == 0 && (p->seen & SEEN_CODING)) {
      return fail_line(p, "HPE_INVALID_TRANSFER_ENCODING", "Transfer-Encoding in HTTP/1.0");
    }
    if (check_target(p, head, len) == HTTP_EV_FAULT) return HTTP_EV_FAULT;
  }
  if ((p->seen & SEEN_LENGTH) && (p->seen & SEEN_CODING)) {
    return fail_line(p, "HPE_INVALID_TRANSFER_ENCODING", "Content-Length with Transfer-Encoding");
  }
  choose_body(p);
  return HTTP_EV_HEAD;
}

static void begin_head(http_parser_t *p) {
  p->state = HTTP_STATE_HEAD;
  p->line = p->scanned = 0;
  p->fields = 0;
  p->seen = 0;
  p->length = 0;
  p->expect = p->expect_100 = false;
}

/* Keeps what came of a head or a trailer section and could not be used yet. */
static http_event_kind_t hold(http_parser_t *p, const char *data, size_t len) {
  if (http_buffer_add(&p->held, data, len) < 0) return http_fail(p, 431, "HPE_USER", "Out of memory");
  return HTTP_EV_MORE;
}

/* A chunked request is shown only when its first chunk size was good: one refused there never reached a
 * handler. With Expect the client waits for an answer first. */
static bool first_chunk_decides(const http_parser_t *p) {
  return p->role == HTTP_PARSE_REQUESTS && p->chunked && !p->expect;
}

/* ev->data is the head; `rest` the input behind it. */
static http_event_kind_t show_head(http_parser_t *p, const char *rest, size_t len, http_event_t *ev) {
  if (!first_chunk_decides(p)) return HTTP_EV_HEAD;
  size_t used = 0;
  http_event_kind_t kind = http_body_size_line(p, rest, len, &used);
  ev->used += used;
  if (kind == HTTP_EV_FAULT) return kind;
  if (kind == HTTP_EV_BODY) return HTTP_EV_HEAD;
  if (ev->data != p->held.data && hold(p, ev->data, ev->len) == HTTP_EV_FAULT) return HTTP_EV_FAULT;
  p->head_waits = true;
  return HTTP_EV_MORE;
}

static http_event_kind_t next_head(http_parser_t *p, const char *data, size_t len, http_event_t *ev) {
  size_t size = 0;
  size_t before = p->held.len;
  const char *text = data;
  size_t have = len;
  if (before > 0) {
    size_t take = len;
    if (before + take > (size_t)p->max_head + 1) take = (size_t)p->max_head + 1 - before;
    if (hold(p, data, take) == HTTP_EV_FAULT) return HTTP_EV_FAULT;
    text = p->held.data;
    have = p->held.len;
  }
  http_event_kind_t kind = http_scan_lines(p, text, have, &size);
  if (kind == HTTP_EV_MORE) {
    kind = peek_first_line(p, text, have);
    ev->used = len;
    if (kind == HTTP_EV_MORE && before == 0) kind = hold(p, data, len);
    return kind;
  }
  if (kind == HTTP_EV_FAULT) return kind;
  kind = judge_head(p, text, size);
  if (kind == HTTP_EV_FAULT) return kind;
  ev->used = size - before;
  if (before > 0) p->held.len = size; /* what came behind the head is not ours */
  ev->data = text;
  ev->len = size;
  return show_head(p, data + ev->used, len - ev->used, ev);
}

static http_event_kind_t waiting_head(http_parser_t *p, const char *data, size_t len, http_event_t *ev) {
  p->head_waits = false;
  ev->data = p->held.data;
  ev->len = p->held.len;
  return show_head(p, data, len, ev);
}

/* Empty lines before a message are skipped, as RFC 9112 asks; they count as part of its head. */
static http_event_kind_t start(http_parser_t *p, const char *data, size_t len, http_event_t *ev) {
  http_buffer_free(&p->held);
  size_t n = 0;
  while (n < len && (data[n] == '\r' || data[n] == '\n')) {
    bool want_lf = p->line != 0;
    if (want_lf != (data[n] == '\n'))
      return fail_line(p, "HPE_CR_EXPECTED", "Bare CR or LF before the start line");
    p->line = !want_lf;
    if (++p->scanned > p->max_head) return http_fail(p, 431, "HPE_HEADER_OVERFLOW", "Header overflow");
    n++;
  }
  ev->used = n;
  if (n == len) return HTTP_EV_MORE;
  if (p->line != 0) return fail_line(p, "HPE_LF_EXPECTED", "Expected LF after CR");
  begin_head(p);
  http_event_kind_t kind = next_head(p, data + n, len - n, ev);
  ev->used += n;
  return kind;
}

static http_event_kind_t end_message(http_parser_t *p) {
  p->state = HTTP_STATE_START;
  p->line = p->scanned = 0;
  return HTTP_EV_END;
}

http_event_kind_t http_parser_next(http_parser_t *p, const char *data, size_t len, http_event_t *ev) {
  ev->used = 0;
  ev->data = "";
  ev->len = 0;
  switch (p->state) {
  case HTTP_STATE_START: return len == 0 ? HTTP_EV_MORE : start(p, data, len, ev);
  case HTTP_STATE_HEAD: return len == 0 ? HTTP_EV_MORE : next_head(p, data, len, ev);
  case HTTP_STATE_NO_BODY: return end_message(p);
  case HTTP_STATE_DEAD: ev->used = len; return HTTP_EV_FAULT;
  default: break;
  }
  if (p->head_waits) return len == 0 ? HTTP_EV_MORE : waiting_head(p, data, len, ev);
  http_event_kind_t kind = http_body_next(p, data, len, ev);
  return kind == HTTP_EV_END ? end_message(p) : kind;
}

void http_parser_skip_body(http_parser_t *p) {
  p->state = HTTP_STATE_NO_BODY;
  p->until_eof = false;
}

bool http_parser_body_follows(const http_parser_t *p) {
  return p->state != HTTP_STATE_NO_BODY && p->state != HTTP_STATE_START && p->state != HTTP_STATE_DEAD;
}

http_event_kind_t http_parser_eof(http_parser_t *p) {
  if (p->state == HTTP_STATE_START || p->state == HTTP_STATE_DEAD) return HTTP_EV_MORE;
  if (p->state == HTTP_STATE_UNTIL_EOF || p->state == HTTP_STATE_NO_BODY) return end_message(p);
  return fail_line(p, "HPE_INVALID_EOF_STATE", "Parse Error");
}

bool http_parser_complete(const http_parser_t *p) {
  return p->state == HTTP_STATE_NO_BODY || http_parser_idle(p);
}

bool http_parser_idle(const http_parser_t *p) { return p->state == HTTP_STATE_START && p->scanned == 0; }
