/* http/parser.c: heads judged by our own strict rules and by llhttp, bodies by http/body.c.
 *
 * A head is looked at line by line (http/lines.c) and, unless it is of the plainest kind, as a whole by
 * llhttp, which knows methods, targets and Connection. Both must agree that it is good. A head inside one
 * read is not copied; one in pieces is held. */
#include "http/parser.h"
#include "http/body.h"
#include "http/grammar.h"
#include "http/lines.h"

#include <llhttp.h>
#include <string.h>
#include <strings.h>

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

void http_parser_free(http_parser_t *p) { buffer_free(&p->held); }

/* The start of a first line that has not ended yet: enough to tell TLS and other strangers at once. */
static http_event_kind_t peek_first_line(http_parser_t *p, const char *text, size_t len) {
  if (p->line != 0) return HTTP_EV_MORE;
  if (p->role == HTTP_PARSE_RESPONSES) {
    static const char version[] = "HTTP/1.";
    if (memcmp(text, version, len < 7 ? len : 7) != 0)
      return http_fail_line(p, "HPE_INVALID_CONSTANT", "Expected HTTP/");
    return HTTP_EV_MORE;
  }
  size_t i = 0;
  while (i < len && ((text[i] >= 'A' && text[i] <= 'Z') || text[i] == '-')) i++;
  if (i > 24 || (i < len && (text[i] != ' ' || i == 0))) {
    return http_fail_line(p, "HPE_INVALID_METHOD", "Invalid method encountered");
  }
  for (; i < len && i < 64; i++) {
    if ((unsigned char)text[i] < ' ' && !(text[i] == '\r' && i == len - 1)) {
      return http_fail_line(p, "HPE_INVALID_URL", "Invalid characters in request line");
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
  return good ? HTTP_EV_MORE : http_fail_line(p, "HPE_INVALID_URL", "Invalid request target");
}

/* Shows llhttp a head without the white space behind its values. */
static llhttp_errno_t show_trimmed(llhttp_t *ll, const char *head, size_t len) {
  const char *end = head + len;
  llhttp_errno_t err = HPE_OK;
  for (const char *line = head; line < end && err == HPE_OK;) {
    const char *cr = (const char *)memchr(line, '\n', (size_t)(end - line)) - 1;
    const char *stop = cr;
    while (stop > line && (stop[-1] == ' ' || stop[-1] == '\t')) stop--;
    err = llhttp_execute(ll, line, (size_t)(stop - line));
    if (err == HPE_OK) err = llhttp_execute(ll, cr, 2);
    line = cr + 2;
  }
  return err;
}

/* llhttp's verdict on the whole head. */
static http_event_kind_t ask_llhttp(http_parser_t *p, const char *head, size_t len) {
  llhttp_t ll;
  verdict_t verdict = {0};
  llhttp_init(&ll, p->role == HTTP_PARSE_REQUESTS ? HTTP_REQUEST : HTTP_RESPONSE, &judge_settings);
  ll.data = &verdict;
  llhttp_errno_t err = p->seen & SEEN_TAB ? show_trimmed(&ll, head, len) : llhttp_execute(&ll, head, len);
  if (err != HPE_OK && err != HPE_PAUSED_UPGRADE) {
    const char *reason = llhttp_get_error_reason(&ll);
    return http_fail_line(p, llhttp_errno_name(err), reason != NULL ? reason : "Parse Error");
  }
  if (!verdict.complete) return http_fail_line(p, "HPE_INVALID_HEADER_TOKEN", "Incomplete head");
  if (ll.http_major != 1 || ll.http_minor > 1)
    return http_fail_line(p, "HPE_INVALID_VERSION", "Invalid HTTP version");
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
      return http_fail_line(p, "HPE_INVALID_HEADER_TOKEN", "Missing Host");
    if (p->minor == 0 && (p->seen & SEEN_CODING)) {
      return http_fail_line(p, "HPE_INVALID_TRANSFER_ENCODING", "Transfer-Encoding in HTTP/1.0");
    }
    if (check_target(p, head, len) == HTTP_EV_FAULT) return HTTP_EV_FAULT;
  }
  if ((p->seen & SEEN_LENGTH) && (p->seen & SEEN_CODING)) {
    return http_fail_line(p, "HPE_INVALID_TRANSFER_ENCODING", "Content-Length with Transfer-Encoding");
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
  if (buffer_add(&p->held, data, len) < 0) return http_fail(p, 431, "HPE_USER", "Out of memory");
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
  ev->data = p->held.data;
  ev->len = p->held.len;
  p->head_waits = false;
  if (!p->head_due) return show_head(p, data, len, ev);
  p->head_due = false;
  return HTTP_EV_HEAD;
}

bool http_parser_hurry(http_parser_t *p) {
  p->head_due = p->head_waits;
  return p->head_due;
}

/* Empty lines before a message are skipped, as RFC 9112 asks; they count as part of its head. */
static http_event_kind_t start(http_parser_t *p, const char *data, size_t len, http_event_t *ev) {
  buffer_free(&p->held);
  size_t n = 0;
  while (n < len && (data[n] == '\r' || data[n] == '\n')) {
    bool want_lf = p->line != 0;
    if (want_lf != (data[n] == '\n'))
      return http_fail_line(p, "HPE_CR_EXPECTED", "Bare CR or LF before the start line");
    p->line = !want_lf;
    if (++p->scanned > p->max_head) return http_fail(p, 431, "HPE_HEADER_OVERFLOW", "Header overflow");
    n++;
  }
  ev->used = n;
  if (n == len) return HTTP_EV_MORE;
  if (p->line != 0) return http_fail_line(p, "HPE_LF_EXPECTED", "Expected LF after CR");
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
  if (p->head_waits) return len == 0 && !p->head_due ? HTTP_EV_MORE : waiting_head(p, data, len, ev);
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
  return http_fail_line(p, "HPE_INVALID_EOF_STATE", "Parse Error");
}

bool http_parser_complete(const http_parser_t *p) {
  return p->state == HTTP_STATE_NO_BODY || http_parser_idle(p);
}

bool http_parser_idle(const http_parser_t *p) { return p->state == HTTP_STATE_START; }

bool http_parser_untouched(const http_parser_t *p) { return http_parser_idle(p) && p->scanned == 0; }
