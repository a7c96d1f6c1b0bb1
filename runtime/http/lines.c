/* http/lines.c: the lines of a head or a trailer section, one by one: CRLF only, no control bytes, no fold, a
 * token before the colon, framing fields once and well-formed. */
#include "http/lines.h"
#include "http/grammar.h"

#include <llhttp.h>
#include <string.h>
#include <strings.h>

enum { LARGEST_LENGTH_DIGITS = 15 }; /* any number of so many digits is exact in a Lua number */

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
      return http_fail_line(p, "HPE_INVALID_METHOD", "Invalid method encountered");
    s++;
  }
  if (s == line || s == end) return http_fail_line(p, "HPE_INVALID_METHOD", "Invalid method encountered");
  p->method = common_method(line, (size_t)(s - line));
  const char *target = ++s;
  while (s < end && http_is_plain((unsigned char)*s)) s++;
  if (p->method == HTTP_UNKNOWN_METHOD || *target != '/' || s == end || *s != ' ') p->seen |= SEEN_ODD;
  while (s < end && (unsigned char)*s > ' ' && *s != 127) s++;
  if (s == target || s == end || *s != ' ')
    return http_fail_line(p, "HPE_INVALID_URL", "Invalid request target");
  p->target = (uint32_t)(target - line);
  p->target_len = (uint32_t)(s - target);
  if (memchr(target, '#', p->target_len))
    return http_fail_line(p, "HPE_INVALID_URL", "Fragment in request target");
  s++;
  if (end - s != 8 || memcmp(s, "HTTP/", 5) != 0 || s[6] != '.' || !http_is_digit(s[5]) ||
      !http_is_digit(s[7])) {
    return http_fail_line(p, "HPE_INVALID_VERSION", "Invalid HTTP version");
  }
  if (s[5] > '1') return http_fail(p, 505, "HPE_INVALID_VERSION", "HTTP version not supported");
  if (s[5] != '1' || s[7] > '1') return http_fail_line(p, "HPE_INVALID_VERSION", "Invalid HTTP version");
  p->minor = (uint8_t)(s[7] - '0');
  return HTTP_EV_MORE;
}

/* HTTP/1.x SP three digits from 100 on, perhaps SP and a reason. */
static http_event_kind_t status_line(http_parser_t *p, const char *line, size_t len) {
  bool good =
      len >= 12 && memcmp(line, "HTTP/1.", 7) == 0 && (line[7] == '0' || line[7] == '1') && line[8] == ' ';
  for (size_t i = 9; good && i < 12; i++) good = http_is_digit(line[i]);
  if (good) good = line[9] != '0' && (len == 12 || line[12] == ' ');
  if (good) good = http_all_text(line + 12, len - 12, 12);
  return good ? HTTP_EV_MORE : http_fail_line(p, "HPE_INVALID_STATUS", "Invalid status line");
}

static http_event_kind_t content_length(http_parser_t *p, const char *value, size_t len) {
  if (p->seen & SEEN_LENGTH)
    return http_fail_line(p, "HPE_UNEXPECTED_CONTENT_LENGTH", "Content-Length already present");
  p->seen |= SEEN_LENGTH;
  if (len == 0 || len > LARGEST_LENGTH_DIGITS) {
    return http_fail_line(p, "HPE_INVALID_CONTENT_LENGTH", "Invalid Content-Length");
  }
  uint64_t n = 0;
  for (size_t i = 0; i < len; i++) {
    if (!http_is_digit(value[i]))
      return http_fail_line(p, "HPE_INVALID_CONTENT_LENGTH", "Invalid Content-Length");
    n = n * 10 + (uint64_t)(value[i] - '0');
  }
  p->length = n;
  return HTTP_EV_MORE;
}

static bool is_chunked(const char *coding, size_t len) {
  return len == 7 && strncasecmp(coding, "chunked", 7) == 0;
}

/* A list of codings, tokens all, of which `chunked` is the last and no other one. */
static bool ends_in_chunked(const char *value, size_t len) {
  const char *end = value + len;
  for (;;) {
    const char *coding = value;
    while (value < end && http_is_token((unsigned char)*value)) value++;
    bool chunked = is_chunked(coding, (size_t)(value - coding));
    if (value == coding || value == end) return value == end && chunked;
    while (value < end && *value == ' ') value++;
    if (chunked || value == end || *value++ != ',') return false;
    while (value < end && *value == ' ') value++;
  }
}

/* A request's body ends with its last chunk or there is no telling where; a response's may end with the connection. */
static http_event_kind_t transfer_coding(http_parser_t *p, const char *value, size_t len) {
  if (p->role == HTTP_PARSE_REQUESTS) {
    if (p->seen & SEEN_CODING)
      return http_fail_line(p, "HPE_INVALID_TRANSFER_ENCODING", "Transfer-Encoding already present");
    if (!ends_in_chunked(value, len)) {
      return http_fail_line(p, "HPE_INVALID_TRANSFER_ENCODING", "Request has invalid `Transfer-Encoding`");
    }
    p->seen |= SEEN_FINAL_CHUNKED;
  } else {
    bool final = len >= 7 && is_chunked(value + len - 7, 7) &&
                 (len == 7 || value[len - 8] == ' ' || value[len - 8] == ',' || value[len - 8] == '\t');
    p->seen = (uint8_t)(final ? p->seen | SEEN_FINAL_CHUNKED : p->seen & ~SEEN_FINAL_CHUNKED);
  }
  p->seen |= SEEN_CODING;
  return HTTP_EV_MORE;
}

/* One host with perhaps a port: no list, no space, no path, nothing that two readers could take differently.
 */
static http_event_kind_t host_field(http_parser_t *p, const char *value, size_t len) {
  if (p->seen & SEEN_HOST) return http_fail_line(p, "HPE_INVALID_HEADER_TOKEN", "Host already present");
  p->seen |= SEEN_HOST;
  const char *s = value;
  while (http_is_host((unsigned char)*s)) s++; /* nor is what follows the value */
  if (s != value + len) return http_fail_line(p, "HPE_INVALID_HEADER_TOKEN", "Invalid Host");
  return HTTP_EV_MORE;
}

static uint64_t folded8(const char *s) {
  uint64_t word;
  memcpy(&word, s, sizeof word);
  return word | 0x2020202020202020u;
}

static uint32_t folded4(const char *s) {
  uint32_t word;
  memcpy(&word, s, sizeof word);
  return word | 0x20202020u;
}

/* Whether a name, a token of the length of `word` (4 to 24), is that word of small letters and hyphens. In a token no other
 * byte becomes a letter or a hyphen by the bit that is the case of letters. */
static inline bool is_named(const char *name, const char *word, size_t len) {
  if (len < 8) return folded4(name) == folded4(word) && folded4(name + len - 4) == folded4(word + len - 4);
  if (folded8(name) != folded8(word) || folded8(name + len - 8) != folded8(word + len - 8)) return false;
  return len <= 16 || folded8(name + len / 2 - 4) == folded8(word + len / 2 - 4);
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
  case 4: return request && is_named(name, "host", 4) ? host_field(p, value, len) : HTTP_EV_MORE;
  case 6:
    if (request && is_named(name, "expect", 6)) {
      p->expect = true;
      p->expect_100 = len == 12 && strncasecmp(value, "100-continue", 12) == 0;
    }
    return HTTP_EV_MORE;
  case 7:
    if (is_named(name, "upgrade", 7)) p->seen |= SEEN_ODD;
    return HTTP_EV_MORE;
  case 10:
    if (is_named(name, "connection", 10)) connection_field(p, value, len);
    return HTTP_EV_MORE;
  case 16:
    if (is_named(name, "proxy-connection", 16)) p->seen |= SEEN_ODD;
    return HTTP_EV_MORE;
  case 14: return is_named(name, "content-length", 14) ? content_length(p, value, len) : HTTP_EV_MORE;
  case 17: return is_named(name, "transfer-encoding", 17) ? transfer_coding(p, value, len) : HTTP_EV_MORE;
  default: return HTTP_EV_MORE;
  }
}

/* Trailers may not say again, or otherwise, how the message is framed and where it goes. */
static http_event_kind_t trailer_field(http_parser_t *p, const char *name, size_t nlen) {
  if ((nlen == 4 && is_named(name, "host", 4)) || (nlen == 14 && is_named(name, "content-length", 14)) ||
      (nlen == 17 && is_named(name, "transfer-encoding", 17))) {
    return http_fail_line(p, "HPE_INVALID_HEADER_TOKEN", "Framing field in trailers");
  }
  return HTTP_EV_MORE;
}

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

/* The CR behind the line, which is neither a token's nor blank, ends the loops. */
static http_event_kind_t field_line(http_parser_t *p, const char *line, size_t len) {
  size_t n = 0;
  while (http_is_token((unsigned char)line[n])) n++;
  if (n == 0 || line[n] != ':') {
    const char *reason = is_blank(line[0]) ? "Obsolete line folding is refused" : "Invalid header token";
    return http_fail_line(p, "HPE_INVALID_HEADER_TOKEN", reason);
  }
  const char *value = line + n + 1;
  const char *end = line + len;
  if (!http_all_text(value, (size_t)(end - value), n + 1))
    return http_fail_line(p, "HPE_INVALID_HEADER_TOKEN", "Invalid header value char");
  while (is_blank(*value)) value++;
  while (end > value && is_blank(end[-1])) {
    if (*--end == '\t') p->seen |= SEEN_TAB;
  }
  if (++p->fields > p->max_fields) return http_fail(p, 431, "HPE_HEADER_OVERFLOW", "Too many header fields");
  if (p->state == HTTP_STATE_TRAILER) return trailer_field(p, line, n);
  return framing_field(p, line, n, value, (size_t)(end - value));
}

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
    if (nl == line || nl[-1] != '\r')
      return http_fail_line(p, "HPE_CR_EXPECTED", "Missing expected CR before LF");
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
