/* io/sockets.c: the module `lrun.core.sockets`: what sockets and standard streams need of the kernel and libuv 1.44
 * does not give: SO_REUSEPORT, writes that wait, the size of a terminal.
 * Owns nothing: a descriptor that it makes belongs to the caller. */
#include "host/errors.h"
#include "host/modules.h"
#include "io/output.h"
#include "io/write_all.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

/* reusePort(fd): true, or nil and the code */
static int l_reuse_port(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1), on = 1;
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) return errors_code(L, -errno);
  lua_pushboolean(L, 1);
  return 1;
}

/* writeAll(fd, data): writes all of it, waiting where the descriptor does not; what was printed goes first.
 * True, or nil and the code. */
static int l_write_all(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  size_t length;
  const char *data = luaL_checklstring(L, 2, &length);
  output_flush();
  int rc = write_all(fd, data, length);
  if (rc < 0) return errors_code(L, rc);
  lua_pushboolean(L, 1);
  return 1;
}

/* writeSome(fd, bytes): how many were written without waiting, or nil and the code */
static int l_write_some(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  size_t length;
  const char *data = luaL_checklstring(L, 2, &length);
  ssize_t n = write_some(fd, data, length);
  if (n < 0) return errors_code(L, (int)n);
  lua_pushnumber(L, (lua_Number)n);
  return 1;
}

/* closeOnExec(fd): children do not get the descriptor, unless it is passed to them on purpose */
static int l_close_on_exec(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  int flags = fcntl(fd, F_GETFD);
  if (flags < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0) return errors_code(L, -errno);
  lua_pushboolean(L, 1);
  return 1;
}

/* windowSize(fd): columns and rows; nothing when it is no terminal */
static int l_window_size(lua_State *L) {
  struct winsize size;
  if (ioctl((int)luaL_checkinteger(L, 1), TIOCGWINSZ, &size) != 0) return 0;
  lua_pushinteger(L, size.ws_col);
  lua_pushinteger(L, size.ws_row);
  return 2;
}

/* duplicate(fd): a descriptor of one's own for the same thing, or nil and the code */
static int l_duplicate(lua_State *L) {
  int fd = fcntl((int)luaL_checkinteger(L, 1), F_DUPFD_CLOEXEC, 3);
  if (fd < 0) return errors_code(L, -errno);
  lua_pushinteger(L, fd);
  return 1;
}

static int int_option(int fd, int name) {
  int value = 0;
  socklen_t size = sizeof value;
  return getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : 0;
}

static bool is_bound_udp(int fd) {
  union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
  } own = {0}, peer;
  socklen_t size = sizeof own, peer_size = sizeof peer;
  if (int_option(fd, SO_TYPE) != SOCK_DGRAM || getsockname(fd, &own.any, &size) != 0) return false;
  if (getpeername(fd, &peer.any, &peer_size) == 0) return false;
  if (own.any.sa_family == AF_INET) return own.v4.sin_port != 0;
  return own.any.sa_family == AF_INET6 && own.v6.sin6_port != 0;
}

/* serves(fd): whether it is a socket that listens, or a UDP socket that is bound and not connected. */
static int l_serves(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  lua_pushboolean(L, int_option(fd, SO_ACCEPTCONN) == 1 || is_bound_udp(fd));
  return 1;
}

static int l_close(lua_State *L) {
  close((int)luaL_checkinteger(L, 1));
  return 0;
}

/* ended(fd): whether all that came was read and no more will come */
static int l_ended(lua_State *L) {
  char byte;
  ssize_t n;
  do n = recv((int)luaL_checkinteger(L, 1), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  lua_pushboolean(L, n == 0 || (n < 0 && errno != EAGAIN));
  return 1;
}

/* reopen(fd): a descriptor of its own for reading the same pipe, so that making it non-blocking is nobody
 * else's business; nil where there is no such way. */
static int l_reopen(lua_State *L) {
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", (int)luaL_checkinteger(L, 1));
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return errors_code(L, -errno);
  lua_pushinteger(L, fd);
  return 1;
}

int luaopen_lrun_sockets(lua_State *L) {
  static const luaL_Reg functions[] = {{"reusePort", l_reuse_port},
                                       {"writeAll", l_write_all},
                                       {"writeSome", l_write_some},
                                       {"closeOnExec", l_close_on_exec},
                                       {"windowSize", l_window_size},
                                       {"reopen", l_reopen},
                                       {"duplicate", l_duplicate},
                                       {"serves", l_serves},
                                       {"close", l_close},
                                       {"ended", l_ended},
                                       {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  return 1;
}
