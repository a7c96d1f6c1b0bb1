/* io/handle_file.c: the module `lrun.core.sendfile`: a range of a file to a luv handle, behind what was written to it.
 *
 * As a stream does it (io/stream_file.c): sendfile while the socket takes it; a small piece with libuv when it is full, or
 * when the file had its share of the turn; the pool for what is not in memory. What others write meanwhile must wait for the
 * callback: libuv does not know of the file. The handle is luv's, and held while this is under way; one that is closed ends
 * it. */
#include "files/range.h"
#include "host/modules.h"
#include "io/file_callback.h"
#include "io/handle_stream.h"
#include "io/under_way.h"

#include <lauxlib.h>
#include <luv/lhandle.h>
#include <stdlib.h>
#include <unistd.h>

enum {
  TURN_SHARE = 1024 * 1024, /* in one turn of the loop */
  POOL_PIECE = 256 * 1024,
  FULL_PIECE = 4 * 1024 /* that waits with libuv for a socket that is full */
};

typedef struct {
  uv_write_t req;
  under_way_t it; /* holds luv's userdata */
  uv_stream_t *handle;
  file_range_t range;
  stream_file_t file;
  char *piece;          /* with libuv, or NULL */
  file_read_t *reading; /* by the pool, or NULL */
} sending_t;

static void end(sending_t *s, int status) {
  bool forgotten = s->it.L == NULL;
  under_way_end(&s->it);
  stream_file_t file = s->file;
  uint64_t sent = file.length - s->range.left;
  free(s);
  if (forgotten) file_callback_forget(&file);
  else if (file.done != NULL) file.done(file.data, status, sent);
}

static void go_on(sending_t *s);

static void on_written(uv_write_t *req, int status) {
  sending_t *s = (sending_t *)req;
  free(s->piece);
  s->piece = NULL;
  if (status < 0 || s->it.L == NULL) end(s, status);
  else go_on(s);
}

/* libuv writes the piece; its memory is ours until then. 0 or UV_E*. */
static int write_piece(sending_t *s, char *bytes, size_t len) {
  if (uv_is_closing((uv_handle_t *)s->handle)) {
    free(bytes);
    return UV_ECANCELED;
  }
  s->piece = bytes;
  uv_buf_t buf = uv_buf_init(bytes, (unsigned)len);
  int rc = uv_write(&s->req, s->handle, &buf, 1, on_written);
  if (rc < 0) {
    free(bytes);
    s->piece = NULL;
  }
  return rc;
}

static void on_read(file_read_t *read) {
  sending_t *s = read->data;
  s->reading = NULL;
  if (read->range == NULL || s->it.L == NULL) { /* settled meanwhile, or the VM has ended */
    free(read->bytes);
    free(read);
    end(s, 0);
    return;
  }
  ssize_t got = read->got;
  char *bytes = read->bytes;
  free(read);
  if (got <= 0) free(bytes);
  int rc = got <= 0 ? (int)got : write_piece(s, bytes, (size_t)got);
  if (rc < 0) end(s, rc);
}

/* A small piece through memory. */
static ssize_t write_small(sending_t *s) {
  char *bytes = malloc(FULL_PIECE);
  if (bytes == NULL) return UV_ENOMEM;
  ssize_t n = file_range_take(&s->range, bytes, FULL_PIECE);
  if (n <= 0) {
    free(bytes);
    return n;
  }
  return write_piece(s, bytes, (size_t)n);
}

/* 0: it is under way; else how it ended. */
static int send_some(sending_t *s) {
  uv_os_fd_t fd;
  int rc = uv_is_closing((uv_handle_t *)s->handle) ? UV_ECANCELED : uv_fileno((uv_handle_t *)s->handle, &fd);
  if (rc < 0) return rc;
  size_t share = uv_stream_get_write_queue_size(s->handle) > 0 ? 0 : TURN_SHARE;
  ssize_t n = share;
  while (n > 0 && share > 0 && s->range.left > 0) {
    n = file_range_send(&s->range, fd, share);
    if (n > 0) share -= (size_t)n;
  }
  if (s->range.left == 0) return 1;
  if (n == UV_EAGAIN || n >= 0) n = write_small(s);
  if (n == FILE_RANGE_COLD)
    n = (s->reading = file_read_start(s->handle->loop, &s->range, POOL_PIECE, s, on_read)) ? 0 : UV_ENOMEM;
  return (int)n;
}

static void go_on(sending_t *s) {
  int rc = send_some(s);
  if (rc != 0) end(s, rc > 0 ? 0 : rc);
}

uv_stream_t *handle_stream(lua_State *L, int index) {
  static const char *const classes[] = {"uv_tcp", "uv_pipe"};
  if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index)) return NULL;
  bool is = false;
  for (size_t i = 0; !is && i < sizeof classes / sizeof *classes; i++) {
    luaL_getmetatable(L, classes[i]);
    is = lua_rawequal(L, -1, -2);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return is ? *(uv_stream_t **)lua_touserdata(L, index) : NULL;
}

/* takes(handle) → whether it is one that files can be sent to */
static int l_takes(lua_State *L) {
  const uv_stream_t *handle = handle_stream(L, 1);
  lua_pushboolean(L, handle != NULL && !uv_is_closing((const uv_handle_t *)handle));
  return 1;
}

/* now(handle, fd, offset, length) → how many bytes of the file the kernel took, where nothing waits before it and all that is
 * asked for is in memory. A failure shows when the rest is sent. */
static int l_now(lua_State *L) {
  uv_stream_t *handle = *(uv_stream_t **)lua_touserdata(L, 1);
  file_range_t range = {.fd = (int)luaL_checkinteger(L, 2),
                        .offset = (uint64_t)luaL_checknumber(L, 3),
                        .left = (uint64_t)luaL_checknumber(L, 4)};
  uv_os_fd_t fd;
  bool free = !uv_is_closing((uv_handle_t *)handle) && uv_stream_get_write_queue_size(handle) == 0 &&
              uv_fileno((uv_handle_t *)handle, &fd) == 0;
  lua_pushnumber(L, free ? (lua_Number)file_range_send_ready(&range, fd) : 0);
  return 1;
}

typedef struct {
  uv_write_t req;
  char *bytes;
} rest_t;

static void on_rest(uv_write_t *req, int status) {
  rest_t *rest = (rest_t *)req;
  (void)status; /* whoever has the handle now sees it */
  free(rest->bytes);
  free(rest);
}

/* settle(sending): somebody else is to have the handle: what is not sent is read now, and waits with libuv behind what was. A
 * file that ends before ends there. */
static int l_settle(lua_State *L) {
  sending_t *s = lua_touserdata(L, 1);
  rest_t *rest = s->range.left > 0 ? malloc(sizeof *rest) : NULL;
  char *bytes = rest != NULL ? malloc(s->range.left) : NULL;
  size_t got = 0;
  while (bytes != NULL && got < s->range.left) {
    ssize_t n = pread(s->range.fd, bytes + got, s->range.left - got, (off_t)(s->range.offset + got));
    if (n <= 0) break;
    got += (size_t)n;
  }
  if (s->reading != NULL) s->reading->range = NULL;
  s->range.left = 0;
  if (bytes == NULL) {
    free(rest);
    return 0;
  }
  rest->bytes = bytes;
  uv_buf_t buf = {.base = bytes, .len = got}; /* uv_buf_init takes no more than 4 GiB */
  if (uv_write(&rest->req, s->handle, &buf, 1, on_rest) < 0) on_rest(&rest->req, 0);
  return 0;
}

/* send(handle, fd, offset, length, callback) → the number of bytes when all of them were sent at once, and nothing is called;
 * what is under way, for `settle` until the callback: that gets a negative code or nil, and how many bytes were sent; nil, a negative
 * code and that number. UV_EOF: the file is shorter. */
static int l_send(lua_State *L) {
  uv_stream_t **handle = lua_touserdata(L, 1);
  stream_file_t file = {.fd = (int)luaL_checkinteger(L, 2),
                        .offset = (uint64_t)luaL_checknumber(L, 3),
                        .length = (uint64_t)luaL_checknumber(L, 4)};
  luaL_checktype(L, 5, LUA_TFUNCTION);
  sending_t *s = calloc(1, sizeof *s);
  if (s != NULL) s->range.left = file.length;
  int rc = s == NULL ? UV_ENOMEM : uv_is_closing((uv_handle_t *)*handle) ? UV_ECANCELED : 0;
  if (rc == 0) rc = file_callback_open(L, 5, &file);
  if (rc == 0) {
    s->handle = *handle;
    s->file = file;
    s->range = (file_range_t){.fd = file.fd, .offset = file.offset, .left = file.length};
    lua_pushvalue(L, 1);
    under_way_begin(L, &s->it);
    rc = send_some(s);
    if (rc != 0) {
      file_callback_drop(&file);
      under_way_end(&s->it);
    }
  }
  uint64_t left = s != NULL ? s->range.left : 0;
  if (rc != 0) free(s);
  if (rc > 0) lua_pushnumber(L, (lua_Number)file.length);
  else if (rc == 0) lua_pushlightuserdata(L, s);
  else lua_pushnil(L);
  if (rc >= 0) return 1;
  lua_pushinteger(L, rc);
  lua_pushnumber(L, (lua_Number)(file.length - left));
  return 3;
}

int luaopen_lrun_sendfile(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"takes", l_takes}, {"now", l_now}, {"send", l_send}, {"settle", l_settle}, {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  return 1;
}
