/* redis/resp.c: see redis/resp.h. A line or string is made a value, which then goes into the list that is under way, and when
 * that is full the list into the one around it, up to the reply itself. */
#include "redis/resp.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  lua_State *L;
  resp_t *r;
  int self, error, push, list, n;
} feed_t;

/* The table that holds what is under way: at 2 · depth - 1 the list of a level, behind it a map's key. */
static void push_kept(feed_t *f) { lua_getfenv(f->L, f->self); }

static void fault(feed_t *f, const char *what) { f->r->fault = what; }

static void open_level(feed_t *f, char kind, int64_t count) {
  resp_t *r = f->r;
  lua_State *L = f->L;
  if (r->depth == RESP_DEPTH) {
    fault(f, "lists are nested too deeply");
    return;
  }
  r->levels[r->depth++] = (resp_level_t){.kind = kind, .left = count};
  push_kept(f);
  lua_createtable(L, kind == '%' || count > 64 ? 0 : (int)count,
                  0); /* a length is believed when it has come */
  lua_rawseti(L, -2, 2 * r->depth - 1);
  lua_pop(L, 1);
}

/* Pushes the list of the innermost level, which is full. */
static void close_level(feed_t *f) {
  resp_t *r = f->r;
  lua_State *L = f->L;
  resp_level_t *level = &r->levels[r->depth - 1];
  push_kept(f);
  lua_rawgeti(L, -1, 2 * r->depth - 1);
  lua_pushnil(L);
  lua_rawseti(L, -3, 2 * r->depth - 1);
  lua_remove(L, -2);
  r->depth--;
  if (level->kind == '>') {
    lua_pushvalue(L, f->push);
    lua_setmetatable(L, -2);
  }
}

/* A map's key: tables and NaN cannot be one of Lua's. */
static void fit_key(lua_State *L) {
  bool nan = lua_type(L, -1) == LUA_TNUMBER && isnan(lua_tonumber(L, -1));
  if (lua_istable(L, -1) || nan) {
    lua_pop(L, 1);
    lua_pushliteral(L, "?");
  }
}

/* Puts the value on top into the innermost level. */
static void store(feed_t *f, resp_level_t *level) {
  lua_State *L = f->L;
  int depth = f->r->depth;
  push_kept(f);
  lua_insert(L, -2);
  if (level->kind == '%' || level->kind == '|') {
    if (!level->has_key) {
      fit_key(L);
      lua_rawseti(L, -2, 2 * depth);
      level->has_key = true;
    } else {
      lua_rawgeti(L, -2, 2 * depth - 1);
      lua_rawgeti(L, -3, 2 * depth);
      lua_pushvalue(L, -3);
      lua_rawset(L, -3);
      lua_pop(L, 2);
      level->has_key = false;
    }
  } else {
    lua_rawgeti(L, -2, 2 * depth - 1);
    lua_insert(L, -2);
    lua_rawseti(L, -2, (int)++level->at);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  level->left--;
}

/* The value on top of the stack is whole: puts it where it belongs. */
static void deliver(feed_t *f) {
  resp_t *r = f->r;
  for (;;) {
    if (r->depth == 0) {
      lua_rawseti(f->L, f->list, ++f->n);
      r->reply = 0;
      return;
    }
    resp_level_t *level = &r->levels[r->depth - 1];
    store(f, level);
    if (level->left > 0) return;
    bool attributes = level->kind == '|';
    close_level(f);
    if (!attributes) continue;
    lua_pop(f->L, 1); /* the value that they belong to comes next */
    return;
  }
}

static void deliver_null(feed_t *f) {
  lua_pushlightuserdata(f->L, NULL);
  deliver(f);
}

static void deliver_error(feed_t *f, const char *text, size_t len) {
  lua_pushvalue(f->L, f->error);
  lua_pushlstring(f->L, text, len);
  lua_call(f->L, 1, 1);
  deliver(f);
}

/* Digits with a sign at most; false for anything else, or a number past 2^63. */
static bool read_integer(const char *text, size_t len, int64_t *out) {
  bool negative = len > 0 && text[0] == '-';
  uint64_t value = 0, most = (uint64_t)INT64_MAX + negative;
  if (len == negative) return false;
  for (size_t i = negative; i < len; i++) {
    unsigned digit = (unsigned char)text[i] - (unsigned)'0';
    if (digit > 9 || value > (most - digit) / 10) return false;
    value = value * 10 + digit;
  }
  *out = (int64_t)(negative ? 0 - value : value);
  return true;
}

static void integer(feed_t *f, const char *text, size_t len) {
  int64_t value;
  if (len > 1 && text[0] == '+') text++, len--;
  if (!read_integer(text, len, &value)) {
    fault(f, "a number is none");
    return;
  }
  if (value > 9007199254740992 || value < -9007199254740992) lua_pushlstring(f->L, text, len);
  else lua_pushnumber(f->L, (lua_Number)value);
  deliver(f);
}

static void number(feed_t *f, const char *text, size_t len) {
  char copy[400], *end;
  if (len == 0 || len >= sizeof copy || text[0] == ' ') {
    fault(f, "a number is none");
    return;
  }
  memcpy(copy, text, len);
  copy[len] = '\0';
  double value = strtod(copy, &end);
  if (*end != '\0' || strpbrk(copy, "xXpP") != NULL) {
    fault(f, "a number is none");
    return;
  }
  lua_pushnumber(f->L, value);
  deliver(f);
}

static void aggregate(feed_t *f, char kind, const char *text, size_t len) {
  int64_t count;
  if (!read_integer(text, len, &count) || count < -1 || count > INT32_MAX) {
    fault(f, "a list's length is none");
    return;
  }
  if (count < 0) {
    deliver_null(f);
    return;
  }
  if (kind == '~') kind = '*';
  if (kind == '%' || kind == '|') count *= 2;
  if (count == 0 && kind == '|') return;
  open_level(f, kind, count);
  if (f->r->fault || count > 0) return;
  close_level(f);
  deliver(f);
}

static void bulk(feed_t *f, char kind, const char *text, size_t len) {
  int64_t count;
  if (!read_integer(text, len, &count) || count < -1 || (count < 0 && kind != '$')) {
    fault(f, "a string's length is none");
    return;
  }
  if (count < 0) {
    deliver_null(f);
    return;
  }
  if ((uint64_t)count > f->r->most) {
    fault(f, "a reply is larger than the limit");
    return;
  }
  f->r->bulk = count + 2;
  f->r->bulk_kind = kind;
}

static void line(feed_t *f, const char *text, size_t len) {
  char kind = text[0];
  const char *rest = text + 1;
  len--;
  switch (kind) {
  case '+':
    lua_pushlstring(f->L, rest, len);
    deliver(f);
    return;
  case '(':
    lua_pushlstring(f->L, rest, len);
    deliver(f);
    return;
  case '-': deliver_error(f, rest, len); return;
  case ':': integer(f, rest, len); return;
  case ',': number(f, rest, len); return;
  case '_':
    if (len > 0) fault(f, "a null is none");
    else deliver_null(f);
    return;
  case '#':
    if (len != 1 || (*rest != 't' && *rest != 'f')) {
      fault(f, "a boolean is none");
      return;
    }
    lua_pushboolean(f->L, *rest == 't');
    deliver(f);
    return;
  case '*':
  case '~':
  case '%':
  case '>':
  case '|': aggregate(f, kind, rest, len); return;
  case '$':
  case '=':
  case '!': bulk(f, kind, rest, len); return;
  default: fault(f, "what came is no reply of Redis");
  }
}

/* A string that is whole, with its CRLF. */
static void whole_bulk(feed_t *f, const char *text, size_t len) {
  char kind = f->r->bulk_kind;
  f->r->bulk = -1;
  if (text[len - 2] != '\r' || text[len - 1] != '\n') {
    fault(f, "a string is longer than it was said to be");
    return;
  }
  len -= 2;
  if (kind == '!') {
    deliver_error(f, text, len);
    return;
  }
  if (kind == '=' && len >= 4 && text[3] == ':')
    text += 4, len -= 4; /* verbatim: its format stands before it */
  lua_pushlstring(f->L, text, len);
  deliver(f);
}

/* Takes as much as is whole; returns how much. */
static size_t take(feed_t *f, const char *data, size_t len) {
  resp_t *r = f->r;
  size_t at = 0;
  while (at < len && !r->fault) {
    size_t used;
    if (r->bulk >= 0) {
      if (len - at < (size_t)r->bulk) break;
      used = (size_t)r->bulk;
      whole_bulk(f, data + at, used);
    } else {
      const char *end = memchr(data + at, '\n', len - at);
      if (end == NULL) {
        if (len - at > RESP_LINE_MAX || memchr("+-:$*_#,(!=%~>|", data[at], 15) == NULL)
          fault(f, "what came is no reply of Redis");
        break;
      }
      used = (size_t)(end - data) + 1 - at;
      if (used < 3 || end[-1] != '\r' || used > RESP_LINE_MAX) {
        fault(f, "a line is none");
        break;
      }
      line(f, data + at, used - 2);
    }
    at += used;
    r->reply = r->depth == 0 && r->bulk < 0 ? 0 : r->reply + used;
    if (r->reply > r->most) fault(f, "a reply is larger than the limit");
  }
  return at;
}

int resp_feed(lua_State *L, resp_t *r, int self, int error, int push, int list, int n, const char *data,
              size_t len) {
  feed_t f = {.L = L, .r = r, .self = self, .error = error, .push = push, .list = list, .n = n};
  luaL_checkstack(L, 12, NULL);
  if (r->held.len > 0) {
    if (buffer_add(&r->held, data, len) < 0) return luaL_error(L, "not enough memory");
    if (r->bulk >= 0 && r->held.len < (size_t)r->bulk) return f.n;
    size_t used = take(&f, r->held.data, r->held.len);
    memmove(r->held.data, r->held.data + used, r->held.len - used);
    r->held.len -= used;
    if (r->held.len == 0) buffer_free(&r->held);
  } else {
    size_t used = take(&f, data, len);
    if (used < len && !r->fault && buffer_add(&r->held, data + used, len - used) < 0)
      return luaL_error(L, "not enough memory");
  }
  return r->fault ? -1 - f.n : f.n;
}

void resp_free(resp_t *r) {
  buffer_free(&r->held);
  buffer_free(&r->output);
}
