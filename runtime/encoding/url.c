/* encoding/url.c: the parts of a URL that is in its normal form already, as nearly all are that a program meets: nothing in it
 * is to be encoded, lowered, resolved or left out. Whatever else it may be, lualib/lrun/url/parser.lua reads it, which knows
 * the standard; here is what that would give for these. */
#include "encoding/encoding.h"

#include <string.h>

typedef struct {
  const unsigned char *at, *end;
} cursor_t;

static inline bool is_in(const percent_set_t *set, unsigned char c) {
  return set->bits[c >> 5] >> (c & 31) & 1;
}

/* What comes up to one of `stops`, or the end; it is of the set's bytes, or `at` is NULL. */
static url_piece_t take(cursor_t *c, const percent_set_t *set, const char *stops) {
  const unsigned char *start = c->at;
  for (; c->at < c->end && !(*c->at && strchr(stops, *c->at)); c->at++)
    if (!is_in(set, *c->at)) return (url_piece_t){NULL, 0};
  return (url_piece_t){start, (size_t)(c->at - start)};
}

static bool take_scheme(cursor_t *c, url_parts_t *url, int *port) {
  static const struct {
    const char *name;
    size_t length;
    int port;
  } schemes[] = {{"https://", 8, 443}, {"http://", 7, 80}, {"wss://", 6, 443}, {"ws://", 5, 80}};
  for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
    size_t length = schemes[i].length;
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, schemes[i].name, length) != 0) continue;
    url->scheme = (url_piece_t){c->at, length - 3};
    *port = schemes[i].port;
    c->at += length;
    return true;
  }
  return false;
}

/* `user:password@`, if there is an `@`. */
static bool take_credentials(cursor_t *c, url_parts_t *url, const percent_set_t *set) {
  url->username = url->password = (url_piece_t){c->at, 0};
  const unsigned char *at = c->at;
  while (at < c->end && *at != '/' && *at != '?' && *at != '#' && *at != '@') at++;
  if (at == c->end || *at != '@') return true;
  cursor_t inside = {c->at, at};
  url->username = take(&inside, set, ":");
  if (!url->username.at) return false;
  if (inside.at < inside.end) {
    inside.at++;
    url->password = take(&inside, set, "");
    if (!url->password.at) return false;
  }
  c->at = at + 1;
  return true;
}

/* A name in lower case whose last label begins with a letter: no address. */
static bool take_host(cursor_t *c, url_parts_t *url) {
  static const percent_set_t plain = {
      {0, 0x03ff6000, 0x80000000, 0x07fffffe, 0, 0, 0, 0}}; /* a-z 0-9 - . _ */
  url->host = take(c, &plain, ":/?#");
  if (!url->host.at || url->host.length == 0) return false;
  const unsigned char *label = url->host.at + url->host.length;
  while (label > url->host.at && label[-1] != '.') label--;
  return label < url->host.at + url->host.length && *label >= 'a' && *label <= 'z';
}

static bool take_port(cursor_t *c, url_parts_t *url, int usual) {
  enum { MOST_DIGITS = 5, MOST = 65535 };
  url->port = -1;
  if (c->at == c->end || *c->at != ':') return true;
  const unsigned char *first = ++c->at;
  int port = 0;
  for (; c->at < c->end && *c->at >= '0' && *c->at <= '9' && c->at - first < MOST_DIGITS; c->at++)
    port = port * 10 + (*c->at - '0');
  if (c->at == first || port > MOST) return false;
  if (port != usual) url->port = port;
  return c->at == c->end || *c->at == '/' || *c->at == '?' || *c->at == '#';
}

/* Segments that may be dots, which are resolved. */
static bool may_be_dots(const unsigned char *segment, size_t length) {
  enum { MOST = 6 /* %2e%2e */ };
  return length > 0 && length <= MOST && (*segment == '.' || *segment == '%');
}

static bool take_path(cursor_t *c, url_parts_t *url, const url_sets_t *sets) {
  url->path = take(c, sets->path, "?#");
  if (!url->path.at) return false;
  const unsigned char *at = url->path.at, *end = at + url->path.length, *slash = at;
  for (; at < end; at++) {
    if (*at == '\\') return false;
    if (*at != '/') continue;
    if (may_be_dots(slash + 1, at > slash ? (size_t)(at - slash - 1) : 0)) return false;
    slash = at;
  }
  return !(end > slash && may_be_dots(slash + 1, (size_t)(end - slash - 1)));
}

static bool take_rest(cursor_t *c, url_parts_t *url, const url_sets_t *sets) {
  if (!take_path(c, url, sets)) return false;
  if (c->at < c->end && *c->at == '?') {
    c->at++;
    url->query = take(c, sets->query, "#");
    if (!url->query.at) return false;
  }
  if (c->at == c->end) return true;
  c->at++;
  url->fragment = take(c, sets->fragment, "");
  return url->fragment.at != NULL;
}

bool url_parts(url_parts_t *url, const unsigned char *text, size_t length, const url_sets_t *sets) {
  cursor_t c = {text, text + length};
  int usual = 0;
  memset(url, 0, sizeof *url);
  return take_scheme(&c, url, &usual) && take_credentials(&c, url, sets->userinfo) && take_host(&c, url) &&
         take_port(&c, url, usual) && take_rest(&c, url, sets);
}

bool url_place(url_parts_t *url, const unsigned char *text, size_t length, const url_sets_t *sets) {
  cursor_t c = {text, text + length};
  memset(url, 0, sizeof *url);
  if (length == 0 || text[0] != '/' || (length > 1 && text[1] == '/')) return false;
  return take_rest(&c, url, sets);
}
