/* http/format.c: see http/format.h. */
#include "http/format.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

typedef struct {
  short status;
  const char *text;
} status_t;

static const status_t statuses[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {102, "Processing"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {207, "Multi-Status"},
    {208, "Already Reported"},
    {226, "IM Used"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {305, "Use Proxy"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Payload Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {418, "I'm a Teapot"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Entity"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {506, "Variant Also Negotiates"},
    {507, "Insufficient Storage"},
    {508, "Loop Detected"},
    {509, "Bandwidth Limit Exceeded"},
    {510, "Not Extended"},
    {511, "Network Authentication Required"},
};

const char *http_status_text(int status) {
  for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
    if (statuses[i].status == status) return statuses[i].text;
  }
  return "unknown";
}

/* Decimal digits of n at `to`; how many. */
static size_t digits(char *to, uint64_t n) {
  char reversed[20];
  size_t len = 0;
  do {
    reversed[len++] = (char)('0' + n % 10);
    n /= 10;
  } while (n > 0);
  for (size_t i = 0; i < len; i++) to[i] = reversed[len - 1 - i];
  return len;
}

int http_response_status(buffer_t *out, int status, const char *message, size_t len) {
  static const char ok[] = "HTTP/1.1 200 OK\r\n";
  if (status == 200 && message == NULL) return buffer_add(out, ok, sizeof ok - 1);
  if (message == NULL) {
    message = http_status_text(status);
    len = strlen(message);
  }
  char *to = buffer_room(out, len + 15);
  if (to == NULL) return UV_ENOMEM;
  memcpy(to, "HTTP/1.1 ", 9);
  size_t n = 9 + digits(to + 9, (uint64_t)status);
  to[n++] = ' ';
  memcpy(to + n, message, len);
  n += len;
  memcpy(to + n, "\r\n", 2);
  out->len += n + 2;
  return 0;
}

int http_response_field(buffer_t *out, const char *name, size_t nlen, const char *value, size_t vlen) {
  char *to = buffer_room(out, nlen + vlen + 4);
  if (to == NULL) return UV_ENOMEM;
  memcpy(to, name, nlen);
  memcpy(to + nlen, ": ", 2);
  memcpy(to + nlen + 2, value, vlen);
  memcpy(to + nlen + 2 + vlen, "\r\n", 2);
  out->len += nlen + vlen + 4;
  return 0;
}

int http_response_length(buffer_t *out, uint64_t length) {
  char *to = buffer_room(out, 40);
  if (to == NULL) return UV_ENOMEM;
  memcpy(to, "Content-Length: ", 16);
  size_t n = 16 + digits(to + 16, length);
  memcpy(to + n, "\r\n", 2);
  out->len += n + 2;
  return 0;
}

int http_response_number(buffer_t *out, uint64_t n) {
  char *to = buffer_room(out, 20);
  if (to == NULL) return UV_ENOMEM;
  out->len += digits(to, n);
  return 0;
}

int http_response_chunk(buffer_t *out, const char *data, size_t len) {
  if (len == 0) return 0;
  char *to = buffer_room(out, len + 22);
  if (to == NULL) return UV_ENOMEM;
  size_t n = (size_t)sprintf(to, "%zx\r\n", len);
  memcpy(to + n, data, len);
  memcpy(to + n + len, "\r\n", 2);
  out->len += n + len + 2;
  return 0;
}

int http_response_chunk_size(buffer_t *out, size_t len) {
  char *to = buffer_room(out, 20);
  if (to == NULL) return UV_ENOMEM;
  out->len += (size_t)sprintf(to, "%zx\r\n", len);
  return 0;
}

int http_response_last_chunk(buffer_t *out, const char *trailers, size_t len) {
  int rc = buffer_add(out, "0\r\n", 3);
  if (rc == 0 && trailers != NULL) rc = buffer_add(out, trailers, len);
  return rc < 0 ? rc : buffer_add(out, "\r\n", 2);
}

int http_response_refusal(buffer_t *out, int status) {
  static const char close[] = "Connection: close\r\nContent-Length: 0\r\n\r\n";
  int rc = http_response_status(out, status, NULL, 0);
  return rc < 0 ? rc : buffer_add(out, close, sizeof close - 1);
}
