/* http/head.c: see http/head.h. */
#include "http/head.h"
#include "http/format.h"

#include <string.h>
#include <strings.h>

/* What the program's own fields say already. */
typedef struct {
  bool connection, close, date, length, coding, chunked;
  uint64_t length_value;
} said_t;

static bool has_token(const char *list, size_t len, const char *token) {
  size_t n = strlen(token);
  for (size_t i = 0; i + n <= len; i++) {
    bool starts = i == 0 || list[i - 1] == ',' || list[i - 1] == ' ' || list[i - 1] == '\t';
    bool ends = i + n == len || list[i + n] == ',' || list[i + n] == ' ' || list[i + n] == '\t';
    if (starts && ends && strncasecmp(list + i, token, n) == 0) return true;
  }
  return false;
}

static void note(said_t *said, const char *name, size_t nlen, const char *value, size_t vlen) {
  switch (nlen) {
  case 4:
    if (strncasecmp(name, "date", 4) == 0) said->date = true;
    break;
  case 10:
    if (strncasecmp(name, "connection", 10) != 0) break;
    said->connection = true;
    if (has_token(value, vlen, "close")) said->close = true;
    break;
  case 14:
    if (strncasecmp(name, "content-length", 14) != 0) break;
    said->length = true;
    said->length_value = 0;
    for (size_t i = 0; i < vlen && i < 18 && value[i] >= '0' && value[i] <= '9'; i++) {
      said->length_value = said->length_value * 10 + (uint64_t)(value[i] - '0');
    }
    break;
  case 17:
    if (strncasecmp(name, "transfer-encoding", 17) != 0) break;
    said->coding = true;
    if (has_token(value, vlen, "chunked")) said->chunked = true;
    break;
  default: break;
  }
}

/* Name and value are at -2 and -1. */
static int put_field(lua_State *L, buffer_t *out, said_t *said) {
  size_t nlen, vlen;
  const char *name = lua_tolstring(L, -2, &nlen);
  const char *value = lua_tolstring(L, -1, &vlen);
  if (name == NULL || value == NULL) return 0;
  note(said, name, nlen, value, vlen);
  return http_response_field(out, name, nlen, value, vlen);
}

static int put_fields(lua_State *L, buffer_t *out, int fields, said_t *said) {
  int n = (int)lua_objlen(L, fields);
  int rc = 0;
  for (int i = 1; i < n && rc == 0; i += 2) {
    lua_rawgeti(L, fields, i);
    lua_rawgeti(L, fields, i + 1);
    if (!lua_istable(L, -1)) {
      rc = put_field(L, out, said);
    } else {
      int values = (int)lua_objlen(L, -1);
      for (int k = 1; k <= values && rc == 0; k++) {
        lua_pushvalue(L, -2);
        lua_rawgeti(L, -2, k);
        rc = put_field(L, out, said);
        lua_pop(L, 2);
      }
    }
    lua_pop(L, 2);
  }
  return rc;
}

/* How the end of the body will be known. */
static int put_framing(http_exchange_t *e, buffer_t *out, const said_t *said, int64_t length, int flags) {
  if (said->length && !said->chunked) {
    e->counted = !e->bodyless;
    e->left = said->length_value;
    return 0;
  }
  if (said->coding) {
    e->chunked = said->chunked && !e->bodyless;
    return 0;
  }
  if (e->bodyless) return 0;
  if (length >= 0 && !(flags & HTTP_HEAD_NO_LENGTH)) return http_response_length(out, (uint64_t)length);
  if (e->minor == 1 && !(flags & HTTP_HEAD_NO_CODING)) {
    static const char chunked[] = "Transfer-Encoding: chunked\r\n";
    e->chunked = true;
    return buffer_add(out, chunked, sizeof chunked - 1);
  }
  e->keep_alive = false; /* the body ends with the connection */
  return 0;
}

static int put_connection(const http_conn_t *conn, const http_exchange_t *e, buffer_t *out) {
  static const char close[] = "Connection: close\r\n";
  static const char keep[] = "Connection: keep-alive\r\nKeep-Alive: timeout=";
  if (!e->keep_alive || e->last) return buffer_add(out, close, sizeof close - 1);
  uint64_t seconds = conn->server->keep_alive_timeout / 1000;
  if (seconds == 0) return buffer_add(out, keep, 24);
  int rc = buffer_add(out, keep, sizeof keep - 1);
  if (rc == 0) rc = http_response_number(out, seconds);
  uint32_t max = conn->server->max_requests;
  if (rc == 0 && max > 0) {
    rc = buffer_add(out, ", max=", 6);
    if (rc == 0) rc = http_response_number(out, max);
  }
  return rc < 0 ? rc : buffer_add(out, "\r\n", 2);
}

/* All but the length is the same for a second. */
int http_head_plain(http_conn_t *conn, http_exchange_t *e, buffer_t *out, uint64_t length) {
  e->started = true;
  http_shared_t *shared = conn->shared;
  buffer_t *plain = &shared->plain_head;
  uint64_t keep_alive = conn->server->keep_alive_timeout;
  int rc = 0;
  if (uv_now(shared->loop) >= shared->plain_until || keep_alive != shared->plain_keep_alive) {
    http_exchange_t like = {.keep_alive = true, .minor = 1};
    plain->len = 0;
    shared->plain_keep_alive = keep_alive;
    rc = http_response_status(plain, 200, NULL, 0);
    if (rc == 0) rc = buffer_add(plain, http_shared_date(shared), HTTP_DATE_LENGTH);
    if (rc == 0) rc = put_connection(conn, &like, plain);
    if (rc == 0) rc = buffer_add(plain, "Content-Length: ", 16);
    shared->plain_until = rc == 0 ? shared->date_until : 0;
  }
  char *to = rc < 0 ? NULL : buffer_room(out, plain->len + 24);
  if (to == NULL) return UV_ENOMEM;
  memcpy(to, plain->data, plain->len);
  out->len += plain->len;
  rc = http_response_number(out, length);
  return rc < 0 ? rc : buffer_add(out, "\r\n\r\n", 4);
}

bool http_head_is_plain(const http_conn_t *conn, const http_exchange_t *e) {
  return !e->head && e->keep_alive && !e->last && !conn->server->closing && conn->server->max_requests == 0;
}

/* All behind the fields. */
static int put_end(http_conn_t *conn, http_exchange_t *e, buffer_t *out, const said_t *said, int64_t length,
                   int flags) {
  int rc = 0;
  if (!said->date && !(flags & HTTP_HEAD_NO_DATE))
    rc = buffer_add(out, http_shared_date(conn->shared), HTTP_DATE_LENGTH);
  bool closing = conn->server->closing && e == conn->last; /* requests whose handlers run are answered */
  if (said->close || (flags & HTTP_HEAD_CLOSE) || closing) e->keep_alive = false;
  if (rc == 0) rc = put_framing(e, out, said, length, flags);
  if (rc == 0 && !said->connection && !(flags & HTTP_HEAD_NO_CONNECTION)) rc = put_connection(conn, e, out);
  if (!e->keep_alive) http_exchange_close(conn, e);
  return rc < 0 ? rc : buffer_add(out, "\r\n", 2);
}

static void start(http_exchange_t *e, int status) {
  e->started = true;
  e->bodyless = e->head || status == 204 || status == 304 || status / 100 == 1;
}

static void note_length(said_t *said, int64_t length) {
  if (length < 0) return;
  said->length = true;
  said->length_value = (uint64_t)length;
}

int http_head_end(http_conn_t *conn, http_exchange_t *e, buffer_t *out, int status, int64_t length) {
  said_t said = {0};
  note_length(&said, length);
  start(e, status);
  return put_end(conn, e, out, &said, -1, 0);
}

int http_head_response(lua_State *L, http_conn_t *conn, http_exchange_t *e, buffer_t *out, int status,
                       int message, int fields, int64_t length, int flags, const http_head_lines_t *lines) {
  if (status == 200 && length >= 0 && flags == 0 && lua_isnil(L, fields) && lua_isnil(L, message) &&
      http_head_is_plain(conn, e))
    return http_head_plain(conn, e, out, (uint64_t)length);
  said_t said = {0};
  size_t mlen = 0;
  const char *text = lua_tolstring(L, message, &mlen);
  start(e, status);
  int rc = http_response_status(out, status, text, mlen);
  if (rc == 0 && lua_istable(L, fields)) rc = put_fields(L, out, fields, &said);
  if (rc == 0 && lines != NULL) {
    rc = buffer_add(out, lines->text, lines->len);
    note_length(&said, lines->length);
  }
  return rc < 0 ? rc : put_end(conn, e, out, &said, length, flags);
}
