/* process/supervise.c: the module `lrun.core.supervise`: what a supervisor needs of the kernel and libuv does not give: locks that
 * end with their holder, orphans that become ours, who is on the other side of a socket, readiness messages of systemd's kind.
 * Owns nothing: a descriptor that it makes belongs to the caller. */
#include "host/errors.h"
#include "host/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <lauxlib.h>
#include <malloc.h>
#include <pwd.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

enum { MAX_NOTICE = 4096 }; /* bytes of one readiness message, as systemd has it */

static int result(lua_State *L, int rc, const char *syscall) {
  return errors_result(L, rc < 0 ? uv_translate_sys_error(errno) : 0, syscall);
}

/* lock(fd) → true; false when another process has it; nil and the error. The kernel gives it back when the last copy of the
 * descriptor is closed, so also when its holder is killed. */
static int l_lock(lua_State *L) {
  int rc = flock((int)luaL_checkinteger(L, 1), LOCK_EX | LOCK_NB);
  if (rc < 0 && errno == EWOULDBLOCK) return lua_pushboolean(L, 0), 1;
  return result(L, rc, "flock");
}

/* subreaper(): orphans among our descendants become our children from now on. */
static int l_subreaper(lua_State *L) { return result(L, prctl(PR_SET_CHILD_SUBREAPER, 1), "prctl"); }

/* reap(pid) → whether this child had ended and is gone now. For children that nobody else waits for. */
static int l_reap(lua_State *L) {
  pid_t pid = (pid_t)luaL_checkinteger(L, 1);
  lua_pushboolean(L, pid > 0 && waitpid(pid, NULL, WNOHANG) == pid);
  return 1;
}

/* listen(fd, backlog): the socket takes connections from now on, which this process does not accept. */
static int l_listen(lua_State *L) {
  return result(L, listen((int)luaL_checkinteger(L, 1), (int)luaL_checkinteger(L, 2)), "listen");
}

/* peer(fd) → uid, pid of the process that connected, or that listens */
static int l_peer(lua_State *L) {
  struct ucred peer;
  socklen_t length = sizeof peer;
  if (getsockopt((int)luaL_checkinteger(L, 1), SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
    return result(L, -1, "getsockopt");
  lua_pushnumber(L, peer.uid);
  lua_pushnumber(L, peer.pid);
  return 2;
}

/* The address of a path, or, where it begins with '@', of an abstract name; false when it is too long. */
static bool unix_address(const char *name, size_t length, struct sockaddr_un *address, socklen_t *size) {
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  if (length == 0 || length >= sizeof address->sun_path) return false;
  memcpy(address->sun_path, name, length);
  bool abstract = name[0] == '@';
  if (abstract) address->sun_path[0] = '\0';
  *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (abstract ? 0 : 1));
  return true;
}

static int datagram(lua_State *L, struct sockaddr_un *address, socklen_t *size) {
  size_t length;
  const char *name = luaL_checklstring(L, 1, &length);
  if (!unix_address(name, length, address, size)) {
    errno = ENAMETOOLONG;
    return -1;
  }
  return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* noticeSocket(name) → a bound datagram socket; `@name` is an abstract one */
static int l_notice_socket(lua_State *L) {
  struct sockaddr_un address;
  socklen_t size = 0;
  int fd = datagram(L, &address, &size);
  if (fd < 0) return result(L, fd, "socket");
  if (bind(fd, (const struct sockaddr *)&address, size) < 0) {
    int saved = errno;
    close(fd);
    errno = saved;
    return result(L, -1, "bind");
  }
  lua_pushinteger(L, fd);
  return 1;
}

/* receiveNotice(fd) → the next message, nil when there is none; descriptors that came along are not taken. */
static int l_receive_notice(lua_State *L) {
  char text[MAX_NOTICE];
  ssize_t length = recv((int)luaL_checkinteger(L, 1), text, sizeof text, MSG_DONTWAIT);
  if (length < 0) return 0;
  lua_pushlstring(L, text, (size_t)length);
  return 1;
}

/* sendNotice(name, text) */
static int l_send_notice(lua_State *L) {
  struct sockaddr_un address;
  socklen_t size = 0;
  size_t length;
  const char *text = luaL_checklstring(L, 2, &length);
  int fd = datagram(L, &address, &size);
  if (fd < 0) return result(L, fd, "socket");
  int rc = sendto(fd, text, length, MSG_NOSIGNAL, (const struct sockaddr *)&address, size) < 0 ? -1 : 0;
  int saved = errno;
  close(fd);
  errno = saved;
  return result(L, rc, "sendto");
}

/* trim(): memory that was freed goes back to the system. */
static int l_trim(lua_State *L) {
  (void)L;
  malloc_trim(0);
  return 0;
}

/* user(name or id) → uid, gid, home; nothing when there is none. An id without an entry has no home. */
static int l_user(lua_State *L) {
  const struct passwd *user =
      lua_type(L, 1) == LUA_TNUMBER ? getpwuid((uid_t)lua_tonumber(L, 1)) : getpwnam(luaL_checkstring(L, 1));
  if (!user) return 0;
  lua_pushnumber(L, user->pw_uid);
  lua_pushnumber(L, user->pw_gid);
  lua_pushstring(L, user->pw_dir);
  return 3;
}

/* group(name) → gid; nothing when there is none */
static int l_group(lua_State *L) {
  const struct group *group = getgrnam(luaL_checkstring(L, 1));
  if (!group) return 0;
  lua_pushnumber(L, group->gr_gid);
  return 1;
}

int luaopen_lrun_supervise(lua_State *L) {
  static const luaL_Reg functions[] = {{"lock", l_lock},
                                       {"subreaper", l_subreaper},
                                       {"reap", l_reap},
                                       {"listen", l_listen},
                                       {"peer", l_peer},
                                       {"noticeSocket", l_notice_socket},
                                       {"receiveNotice", l_receive_notice},
                                       {"sendNotice", l_send_notice},
                                       {"trim", l_trim},
                                       {"user", l_user},
                                       {"group", l_group},
                                       {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  return 1;
}
