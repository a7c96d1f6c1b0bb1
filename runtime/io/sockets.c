/* io/sockets.c: the module `lrun.core.sockets`: what sockets and standard streams need of the kernel and libuv 1.44
 * does not give: SO_REUSEPORT, names in Linux's abstract namespace, writes that wait, the size of a terminal.
 * Owns nothing: a descriptor that it makes belongs to the caller. */
#include "host/modules.h"
#include "io/write_all.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

/* nil and the code's name, as luv's functions give it in third place. */
static int failure(lua_State *L, int rc) {
  char name[64];
  lua_pushnil(L);
  lua_pushstring(L, uv_err_name_r(rc, name, sizeof name));
  return 2;
}

/* reusePort(fd): true, or nil and the code */
static int l_reuse_port(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1), on = 1;
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) return failure(L, -errno);
  lua_pushboolean(L, 1);
  return 1;
}

/* The address of a name that begins with NUL; 0, or a negative code. */
static int abstract_address(const char *name, size_t length, struct sockaddr_un *address, socklen_t *size) {
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  if (length < 2 || name[0] != '\0') return -EINVAL;
  if (length > sizeof address->sun_path) return -ENAMETOOLONG;
  memcpy(address->sun_path, name, length);
  *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
  return 0;
}

static int abstract_socket(lua_State *L, int (*use)(int, const struct sockaddr *, socklen_t)) {
  size_t length;
  const char *name = luaL_checklstring(L, 1, &length);
  struct sockaddr_un address;
  socklen_t size = 0;
  int rc = abstract_address(name, length, &address, &size);
  if (rc < 0) return failure(L, rc);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return failure(L, -errno);
  if (use(fd, (const struct sockaddr *)&address, size) != 0) {
    rc = -errno;
    close(fd);
    return failure(L, rc);
  }
  lua_pushinteger(L, fd);
  return 1;
}

/* bindAbstract(name): a descriptor, or nil and the code */
static int l_bind_abstract(lua_State *L) { return abstract_socket(L, bind); }

/* connectAbstract(name): a descriptor, or nil and the code. A unix socket connects at once or not at all. */
static int l_connect_abstract(lua_State *L) { return abstract_socket(L, connect); }

/* writeAll(fd, data): writes all of it, waiting where the descriptor does not; what C's stdout and stderr
 * hold goes first. True, or nil and the code. */
static int l_write_all(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  size_t length;
  const char *data = luaL_checklstring(L, 2, &length);
  fflush(fd == STDERR_FILENO ? stderr : stdout);
  int rc = write_all(fd, data, length);
  if (rc < 0) return failure(L, rc);
  lua_pushboolean(L, 1);
  return 1;
}

/* closeOnExec(fd): children do not get the descriptor, unless it is passed to them on purpose */
static int l_close_on_exec(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  int flags = fcntl(fd, F_GETFD);
  if (flags < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0) return failure(L, -errno);
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
  if (fd < 0) return failure(L, -errno);
  lua_pushinteger(L, fd);
  return 1;
}

static int l_close(lua_State *L) {
  close((int)luaL_checkinteger(L, 1));
  return 0;
}

/* reopen(fd): a descriptor of its own for reading the same pipe, so that making it non-blocking is nobody
 * else's business; nil where there is no such way. */
static int l_reopen(lua_State *L) {
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", (int)luaL_checkinteger(L, 1));
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return failure(L, -errno);
  lua_pushinteger(L, fd);
  return 1;
}

int luaopen_lrun_sockets(lua_State *L) {
  static const luaL_Reg functions[] = {{"reusePort", l_reuse_port},
                                       {"bindAbstract", l_bind_abstract},
                                       {"connectAbstract", l_connect_abstract},
                                       {"writeAll", l_write_all},
                                       {"closeOnExec", l_close_on_exec},
                                       {"windowSize", l_window_size},
                                       {"reopen", l_reopen},
                                       {"duplicate", l_duplicate},
                                       {"close", l_close},
                                       {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  return 1;
}
