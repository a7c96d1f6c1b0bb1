/* http/parser.c (fuzz): any bytes, whole and in pieces, give the same events, and never more than the limits
 * allow; what our rules take llhttp takes, too. The first byte chooses the role, whether messages are taken for ones
 * without a body, whether heads that wait are hurried, and how the rest is cut. */
#include "http/parser.h"

#include <llhttp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HEAD = 2048, MAX_FIELDS = 50 };

/* What came of the bytes: bodies are hashed byte by byte, since their pieces may be cut anywhere. */
typedef struct {
  uint64_t hash;
  unsigned events;
  int status;
} outcome_t;

static void mix(outcome_t *o, const char *data, size_t len) {
  for (size_t i = 0; i < len; i++) o->hash = (o->hash ^ (unsigned char)data[i]) * 1099511628211u;
}

static void check(int good) {
  if (!good) abort();
}

static int on_headers_complete(llhttp_t *ll) {
  *(int *)ll->data = (ll->flags & F_CONNECTION_CLOSE) != 0        ? 1
                     : (ll->flags & F_CONNECTION_KEEP_ALIVE) != 0 ? 2
                                                                  : 3;
  return 0;
}

/* llhttp takes a space for a part of what is around it where it does not take a tab: white space behind values belongs
 * to none of them. */
static size_t trim(const char *head, size_t len, char *to) {
  size_t n = 0;
  for (size_t i = 0; i < len; i++) {
    if (head[i] == '\r') {
      while (n > 0 && (to[n - 1] == ' ' || to[n - 1] == '\t')) n--;
    }
    to[n++] = head[i];
  }
  return n;
}

/* llhttp takes every head that we take, and reads the same out of it. */
static void agree(const http_parser_t *p, const char *whole, size_t whole_len) {
  char head[MAX_HEAD];
  size_t len = trim(whole, whole_len, head);
  static const llhttp_settings_t settings = {.on_headers_complete = on_headers_complete};
  llhttp_t ll;
  int connection = 0;
  llhttp_init(&ll, p->role == HTTP_PARSE_REQUESTS ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
  ll.data = &connection;
  llhttp_errno_t err = llhttp_execute(&ll, head, len);
  check((err == HPE_OK || err == HPE_PAUSED_UPGRADE) && connection != 0);
  check(ll.http_major == 1 && ll.http_minor == p->minor);
  if (p->role == HTTP_PARSE_RESPONSES) return;
  check(ll.method == p->method && p->keep_alive == (connection != 1 && (p->minor == 1 || connection == 2)));
}

/* What the first byte says. */
enum { RESPONSES = 1, WITHOUT_BODY = 2, HURRIED = 4, CUT_SHIFT = 3 };

/* false when the parser takes nothing more. */
static int feed(http_parser_t *p, const char *data, size_t len, int how, outcome_t *o) {
  size_t at = 0;
  for (;;) {
    http_event_t ev;
    http_event_kind_t kind = http_parser_next(p, data + at, len - at, &ev);
    check(ev.used <= len - at || kind == HTTP_EV_FAULT);
    check(p->held.len <= 2 * MAX_HEAD + 2);
    if (kind == HTTP_EV_FAULT) {
      o->status = p->fault.status;
      check(p->fault.status >= 400 && p->fault.code != NULL && p->fault.reason != NULL);
      return 0;
    }
    at += ev.used;
    if (kind == HTTP_EV_MORE) {
      check(at == len);
      return 1;
    }
    mix(o, ev.data, ev.len);
    if (kind == HTTP_EV_BODY) continue;
    o->events++;
    mix(o, kind == HTTP_EV_HEAD ? "H" : "E", 1);
    if (kind == HTTP_EV_HEAD) agree(p, ev.data, ev.len);
    if (kind != HTTP_EV_HEAD) continue;
    check(ev.len <= MAX_HEAD && memchr(ev.data, 0, ev.len) == NULL);
    if (how & WITHOUT_BODY) http_parser_skip_body(p);
    check(!(how & WITHOUT_BODY) || !http_parser_body_follows(p));
  }
}

static outcome_t run(int how, const char *data, size_t len, size_t piece) {
  outcome_t o = {.hash = 14695981039346656037u};
  http_parser_t p;
  http_parser_init(&p, how & RESPONSES ? HTTP_PARSE_RESPONSES : HTTP_PARSE_REQUESTS, MAX_HEAD, MAX_FIELDS);
  int on = 1;
  for (size_t at = 0; on && at < len; at += piece) {
    check(p.extension <= MAX_HEAD + 1);
    size_t n = len - at < piece ? len - at : piece;
    char *copy = malloc(n); /* of its own, so that the sanitizer sees a read beyond it */
    memcpy(copy, data + at, n);
    on = feed(&p, copy, n, how, &o);
    free(copy);
    if (on && (how & HURRIED) && http_parser_hurry(&p)) on = feed(&p, "", 0, how, &o);
  }
  if (on) {
    http_event_kind_t kind = http_parser_eof(&p);
    if (kind == HTTP_EV_FAULT) o.status = p.fault.status;
  }
  http_parser_free(&p);
  return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  if (size < 2) return 0;
  int how = bytes[0];
  size_t piece = (size_t)(bytes[0] >> CUT_SHIFT) + 1;
  const char *data = (const char *)bytes + 1;
  size_t len = size - 1;
  outcome_t whole = run(how, data, len, len);
  outcome_t cut = run(how, data, len, piece);
  if (how & HURRIED) return 0; /* a head that did not wait for its first chunk is shown though that is bad */
  check(whole.hash == cut.hash && whole.events == cut.events && (whole.status != 0) == (cut.status != 0));
  return 0;
}
