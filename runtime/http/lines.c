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
  if (good) good = http_all_text(line + 12, len - 12);
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
  for (size_t i = 0; i < len; i++) {
    if (!http_is_host((unsigned char)value[i]))
      return http_fail_line(p, "HPE_INVALID_HEADER_TOKEN", "Invalid Host");
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
    return http_fail_line(p, "HPE_INVALID_HEADER_TOKEN", "Framing field in trailers");
  }
  return HTTP_EV_MORE;
}

static http_event_kind_t field_line(http_parser_t *p, const char *line, size_t len) {
  if (line[0] == ' ' || line[0] == '\t') {
    return http_fail_line(p, "HPE_INVALID_HEADER_TOKEN", "Obsolete line folding is refused");
  }
  size_t n = 0;
  while (n < len && http_is_token((unsigned char)line[n])) n++;
  if (n == 0 || n == len || line[n] != ':')
    return http_fail_line(p, "HPE_INVALID_HEADER_TOKEN", "Invalid header token");
  const char *value = line + n + 1;
  const char *end = line + len;
  if (!http_all_text(value, (size_t)(end - value)))
    return http_fail_line(p, "HPE_INVALID_HEADER_TOKEN", "Invalid header value char");
  while (value < end && (*value == ' ' || *value == '\t')) value++;
  while (end > value && (end[-1] == ' ' || end[-1] == '\t')) {
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
