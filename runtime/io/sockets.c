/* io/sockets.c: the module `lrun.core.sockets`: what sockets and standard streams need of the kernel and libuv 1.44
 * does not give: SO_REUSEPORT, unix sockets by any name, who is at their other end, writes that wait, the size of a terminal.
 * Owns nothing: a descriptor that it makes belongs to the caller. */
#include "host/modules.h"
#include "io/output.h"
#include "io/write_all.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
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

/* Names of unix sockets: a path, or bytes of Linux's abstract namespace, which begin with NUL. */
typedef struct {
  struct sockaddr_un address;
  socklen_t size;
} unix_name_t;

static bool is_abstract(const unix_name_t *name) { return name->address.sun_path[0] == '\0'; }

/* 0, or a negative code. */
static int unix_name(const char *text, size_t length, unix_name_t *name) {
  memset(name, 0, sizeof *name);
  name->address.sun_family = AF_UNIX;
  bool abstract = length > 0 && text[0] == '\0';
  if (length < (abstract ? 2 : 1) || (!abstract && memchr(text, '\0', length))) return -EINVAL;
  if (length > sizeof name->address.sun_path - !abstract) return -ENAMETOOLONG;
  memcpy(name->address.sun_path, text, length);
  name->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + !abstract);
  return 0;
}

static int check_unix_name(lua_State *L, unix_name_t *name) {
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  return unix_name(text, length, name);
}

static int check_type(lua_State *L, int index) {
  static const char *const names[] = {"stream", "dgram", NULL};
  return luaL_checkoption(L, index, NULL, names) == 0 ? SOCK_STREAM : SOCK_DGRAM;
}

static int name_of(int fd, const unix_name_t *name, int (*use)(int, const struct sockaddr *, socklen_t)) {
  return use(fd, (const struct sockaddr *)&name->address, name->size) == 0 ? 0 : -errno;
}

enum { LOCK_TRIES = 50 }; /* a millisecond each: anybody may hold the lock */

/* Who binds in a directory, and looks whether a name there is stale, holds its lock: between bind and listen a
 * socket looks as if nobody answered on it. Returns a descriptor to close, or -1: then it goes without. */
static int lock_directory(const char *path) {
  char directory[sizeof((struct sockaddr_un *)0)->sun_path + 2];
  const char *slash = strrchr(path, '/');
  size_t length = slash ? (size_t)(slash - path) : 0;
  memcpy(directory, path, length);
  directory[length] = '\0';
  int fd = open(!slash ? "." : length ? directory : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; fd >= 0 && i < LOCK_TRIES && flock(fd, LOCK_EX | LOCK_NB) != 0; i++)
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  return fd;
}

/* Whether the name is that of a socket whose owner is gone. */
static bool is_stale(const unix_name_t *name, int type) {
  struct stat found;
  if (lstat(name->address.sun_path, &found) != 0 || !S_ISSOCK(found.st_mode)) return false;
  int probe = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return false;
  int rc = name_of(probe, name, connect);
  close(probe);
  return rc == -ECONNREFUSED;
}

static int bind_name(int fd, const unix_name_t *name, int type, int backlog) {
  int rc = name_of(fd, name, bind);
  if (rc == -EADDRINUSE && !is_abstract(name) && is_stale(name, type) && unlink(name->address.sun_path) == 0)
    rc = name_of(fd, name, bind);
  if (rc == -ENOENT) return -EACCES; /* what libuv, and so Node, says of a directory that is not there */
  if (rc == 0 && type == SOCK_STREAM && listen(fd, backlog) != 0) return -errno;
  return rc;
}

/* bindUnix(name, "stream"|"dgram"[, backlog]): a descriptor, or nil and the code. A stream listens at once. A file
 * that a process left behind is taken over; one that somebody answers on is EADDRINUSE. */
static int l_bind_unix(lua_State *L) {
  unix_name_t name;
  int type = check_type(L, 2), backlog = luaL_optint(L, 3, SOMAXCONN);
  int rc = check_unix_name(L, &name);
  if (rc < 0) return failure(L, rc);
  int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return failure(L, -errno);
  int lock = is_abstract(&name) ? -1 : lock_directory(name.address.sun_path);
  rc = bind_name(fd, &name, type, backlog);
  if (lock >= 0) close(lock);
  if (rc < 0) {
    close(fd);
    return failure(L, rc);
  }
  lua_pushinteger(L, fd);
  return 1;
}

/* connectUnix(name, "stream"|"dgram"): a descriptor, or nil and the code. A unix socket connects at once or not
 * at all. */
static int l_connect_unix(lua_State *L) {
  unix_name_t name;
  int rc = check_unix_name(L, &name);
  if (rc < 0) return failure(L, rc);
  int fd = socket(AF_UNIX, check_type(L, 2) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return failure(L, -errno);
  rc = name_of(fd, &name, connect);
  if (rc < 0) {
    close(fd);
    return failure(L, rc);
  }
  lua_pushinteger(L, fd);
  return 1;
}

/* peerCredentials(fd): pid, uid, gid of the process at the other end of a unix socket, as it connected or
 * listened; or nil and the code */
static int l_peer_credentials(lua_State *L) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  if (getsockopt((int)luaL_checkinteger(L, 1), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    return failure(L, -errno);
  lua_pushinteger(L, peer.pid);
  lua_pushnumber(L, peer.uid);
  lua_pushnumber(L, peer.gid);
  return 3;
}

/* writeAll(fd, data): writes all of it, waiting where the descriptor does not; what was printed goes first.
 * True, or nil and the code. */
static int l_write_all(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  size_t length;
  const char *data = luaL_checklstring(L, 2, &length);
  output_flush();
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
                                       {"bindUnix", l_bind_unix},
                                       {"connectUnix", l_connect_unix},
                                       {"peerCredentials", l_peer_credentials},
                                       {"writeAll", l_write_all},
                                       {"closeOnExec", l_close_on_exec},
                                       {"windowSize", l_window_size},
                                       {"reopen", l_reopen},
                                       {"duplicate", l_duplicate},
                                       {"serves", l_serves},
                                       {"close", l_close},
                                       {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  return 1;
}
