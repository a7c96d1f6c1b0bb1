/* io/unix_sockets.c: the module `lrun.core.unix`: unix sockets by any name, stale ones taken over, who is at their other
 * end, and datagrams over them. Owns nothing: a descriptor that it makes belongs to the caller.
 * Functions return what they made, or true; or nil and the code's name, as luv's give it in third place. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "host/errors.h"
#include "host/modules.h"

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

/* A descriptor, or a negative code. */
static int open_socket(int type) {
  int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  return fd < 0 ? -errno : fd;
}

static int name_of(int fd, const unix_name_t *name, int (*use)(int, const struct sockaddr *, socklen_t)) {
  return use(fd, (const struct sockaddr *)&name->address, name->size) == 0 ? 0 : -errno;
}

enum { LOCK_TRIES = 50 }; /* a millisecond each: anybody may hold the lock */

/* Who takes a stale name over holds the lock of its directory: of two that find the same one, the second must not
 * remove what the first has bound. Returns a descriptor to close, or -1: then it goes without. */
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

/* Whether the name is that of a socket whose owner is gone. It is asked with a datagram socket: one that listens is of
 * another type, says so while it lives, and hears nothing of it. */
static bool is_stale(const unix_name_t *name) {
  struct stat found;
  if (lstat(name->address.sun_path, &found) != 0 || !S_ISSOCK(found.st_mode)) return false;
  int probe = open_socket(SOCK_DGRAM);
  if (probe < 0) return false;
  int rc = name_of(probe, name, connect);
  close(probe);
  return rc == -ECONNREFUSED;
}

static int bind_name(int fd, const unix_name_t *name) {
  int rc = name_of(fd, name, bind);
  if (rc == -ENOENT) return -EACCES; /* what libuv, and so Node, says of a directory that is not there */
  if (rc != -EADDRINUSE || is_abstract(name) || !is_stale(name)) return rc;
  int lock = lock_directory(name->address.sun_path);
  if (is_stale(name) && unlink(name->address.sun_path) == 0) rc = name_of(fd, name, bind);
  if (lock >= 0) close(lock);
  return rc;
}

/* bind(name, "stream"|"dgram"): a descriptor. A file that a process left behind is taken over; one that is some
 * process's is EADDRINUSE. */
static int l_bind(lua_State *L) {
  unix_name_t name;
  int type = check_type(L, 2);
  int rc = check_unix_name(L, &name);
  if (rc < 0) return errors_code(L, rc);
  int fd = open_socket(type);
  if (fd < 0) return errors_code(L, fd);
  rc = bind_name(fd, &name);
  if (rc < 0) {
    close(fd);
    return errors_code(L, rc);
  }
  lua_pushinteger(L, fd);
  return 1;
}

/* connect(name, "stream"|"dgram"): a descriptor, or nil and the code. A unix socket connects at once or not
 * at all. */
static int l_connect(lua_State *L) {
  unix_name_t name;
  int rc = check_unix_name(L, &name);
  if (rc < 0) return errors_code(L, rc);
  int fd = open_socket(check_type(L, 2));
  if (fd < 0) return errors_code(L, fd);
  rc = name_of(fd, &name, connect);
  if (rc < 0) {
    close(fd);
    return errors_code(L, rc);
  }
  lua_pushinteger(L, fd);
  return 1;
}

enum { DATAGRAM_MAX = 1024 * 1024 }; /* bytes: what is longer is dropped */

/* passCredentials(fd): what receive() returns has them from now on. */
static int l_pass_credentials(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1), on = 1;
  if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0) return errors_code(L, -errno);
  lua_pushboolean(L, 1);
  return 1;
}

static void push_unix_name(lua_State *L, const struct sockaddr_un *address, socklen_t size) {
  size_t start = offsetof(struct sockaddr_un, sun_path);
  size_t length = size > start ? size - start : 0;
  if (length > 0 && address->sun_path[0] != '\0') length = strnlen(address->sun_path, length);
  lua_pushlstring(L, address->sun_path, length);
}

static int push_credentials(lua_State *L, struct msghdr *message) {
  for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS) continue;
    struct ucred sender;
    memcpy(&sender, CMSG_DATA(c), sizeof sender);
    lua_pushinteger(L, sender.pid);
    lua_pushnumber(L, sender.uid);
    lua_pushnumber(L, sender.gid);
    return 3;
  }
  return 0;
}

/* Descriptors that came along: nobody asked for them. */
static void close_descriptors(struct msghdr *message) {
  for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    for (size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
      int fd;
      memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
      close(fd);
    }
  }
}

/* receive(fd): the next datagram of a unix socket, its sender's name ("" when it has none), and with
 * passCredentials the sender's pid, uid, gid; or nil and the code: EMSGSIZE for one that was too long. */
static int l_receive(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  ssize_t size = recv(fd, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
  if (size < 0) return errors_code(L, -errno);
  bool fits = size <= DATAGRAM_MAX;
  char *bytes = lua_newuserdata(L, fits && size > 0 ? (size_t)size : 1);
  struct sockaddr_un from;
  struct iovec part = {bytes, fits ? (size_t)size : 0};
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(16 * sizeof(int))];
  } control;
  struct msghdr message = {.msg_name = &from,
                           .msg_namelen = sizeof from,
                           .msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof control};
  ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) return errors_code(L, -errno);
  close_descriptors(&message);
  if (!fits) return errors_code(L, -EMSGSIZE);
  lua_pushlstring(L, bytes, (size_t)got);
  push_unix_name(L, &from, message.msg_namelen);
  return 2 + push_credentials(L, &message);
}

/* send(name or nil, fd, data): sends a datagram, to the socket's peer without a name. True, or nil and the code. */
static int l_send(lua_State *L) {
  unix_name_t name = {0};
  int rc = lua_isnil(L, 1) ? 0 : check_unix_name(L, &name);
  size_t length;
  int fd = (int)luaL_checkinteger(L, 2);
  const char *data = luaL_checklstring(L, 3, &length);
  if (rc < 0) return errors_code(L, rc);
  const struct sockaddr *to = name.size ? (const struct sockaddr *)&name.address : NULL;
  ssize_t n;
  do n = sendto(fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL, to, name.size);
  while (n < 0 && errno == EINTR);
  if (n < 0) return errors_code(L, -errno);
  lua_pushboolean(L, 1);
  return 1;
}

/* bufferSize(fd, "recv"|"send"[, size]): bytes, as the kernel counts them; sets them first if they are given. */
static int l_buffer_size(lua_State *L) {
  static const char *const names[] = {"recv", "send", NULL};
  int fd = (int)luaL_checkinteger(L, 1);
  int option = luaL_checkoption(L, 2, NULL, names) == 0 ? SO_RCVBUF : SO_SNDBUF;
  int size = luaL_optint(L, 3, 0);
  socklen_t length = sizeof size;
  if (size > 0 && setsockopt(fd, SOL_SOCKET, option, &size, sizeof size) != 0) return errors_code(L, -errno);
  if (getsockopt(fd, SOL_SOCKET, option, &size, &length) != 0) return errors_code(L, -errno);
  lua_pushinteger(L, size);
  return 1;
}

/* connectTo(name or nil, fd): gives a datagram socket its peer, or takes it away. */
static int l_connect_to(lua_State *L) {
  unix_name_t name = {.address = {.sun_family = AF_UNSPEC}, .size = sizeof(sa_family_t)};
  int rc = lua_isnil(L, 1) ? 0 : check_unix_name(L, &name);
  if (rc == 0) rc = name_of((int)luaL_checkinteger(L, 2), &name, connect);
  if (rc < 0) return errors_code(L, rc);
  lua_pushboolean(L, 1);
  return 1;
}

/* socket("stream"|"dgram"): a descriptor without a name, or nil and the code */
static int l_socket(lua_State *L) {
  int fd = open_socket(check_type(L, 1));
  if (fd < 0) return errors_code(L, fd);
  lua_pushinteger(L, fd);
  return 1;
}

/* peerCredentials(fd): pid, uid, gid of the process at the other end of a unix socket, as it connected or
 * listened; or nil and the code */
static int l_peer_credentials(lua_State *L) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  if (getsockopt((int)luaL_checkinteger(L, 1), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    return errors_code(L, -errno);
  if (peer.pid == 0 && peer.uid == (uid_t)-1)
    return errors_code(L, UV_ENOTSUP); /* no unix socket, or no peer */
  lua_pushinteger(L, peer.pid);
  lua_pushnumber(L, peer.uid);
  lua_pushnumber(L, peer.gid);
  return 3;
}

int luaopen_lrun_unix(lua_State *L) {
  static const luaL_Reg functions[] = {{"bind", l_bind},
                                       {"connect", l_connect},
                                       {"socket", l_socket},
                                       {"connectTo", l_connect_to},
                                       {"bufferSize", l_buffer_size},
                                       {"send", l_send},
                                       {"receive", l_receive},
                                       {"passCredentials", l_pass_credentials},
                                       {"peerCredentials", l_peer_credentials},
                                       {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  return 1;
}
