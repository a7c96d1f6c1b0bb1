/* host/system.c: the module `lrun.core.system`: what process.lua and os.lua need of the system and luv does not offer. */
#include "host/credentials.h"
#include "host/errors.h"
#include "host/modules.h"
#include "version.h"
#include <errno.h>
#include <grp.h>
#include <lauxlib.h>
#include <llhttp.h>
#include <luajit.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

static int l_abort(lua_State *L) {
  (void)L;
  abort();
}

static int l_umask(lua_State *L) {
  mode_t old;
  if (lua_isnoneornil(L, 1)) {
    old = umask(0);
    umask(old);
  } else {
    old = umask((mode_t)luaL_checkinteger(L, 1) & 0777);
  }
  lua_pushinteger(L, (lua_Integer)old);
  return 1;
}

static int l_getuid(lua_State *L) { return lua_pushnumber(L, getuid()), 1; }
static int l_getgid(lua_State *L) { return lua_pushnumber(L, getgid()), 1; }
static int l_geteuid(lua_State *L) { return lua_pushnumber(L, geteuid()), 1; }
static int l_getegid(lua_State *L) { return lua_pushnumber(L, getegid()), 1; }

/* A group or user is an id or a name. */
static gid_t check_group(lua_State *L, int index, const char *name) {
  if (lua_type(L, index) == LUA_TNUMBER) return (gid_t)lua_tonumber(L, index);
  if (lua_type(L, index) != LUA_TSTRING) errors_type(L, name, "string or number", index);
  const struct group *group = getgrnam(lua_tostring(L, index));
  if (!group)
    errors_throw(L, "ERR_UNKNOWN_CREDENTIAL", "Group identifier does not exist: %s", lua_tostring(L, index));
  return group->gr_gid;
}

static uid_t check_user(lua_State *L, int index, const char *name) {
  if (lua_type(L, index) == LUA_TNUMBER) return (uid_t)lua_tonumber(L, index);
  if (lua_type(L, index) != LUA_TSTRING) errors_type(L, name, "string or number", index);
  const struct passwd *user = getpwnam(lua_tostring(L, index));
  if (!user)
    errors_throw(L, "ERR_UNKNOWN_CREDENTIAL", "User identifier does not exist: %s", lua_tostring(L, index));
  return user->pw_uid;
}

static int result(lua_State *L, int rc, const char *syscall) {
  return errors_result(L, rc < 0 ? uv_translate_sys_error(errno) : 0, syscall);
}

/* Credentials are the process's, and so is what follows them. */
static void (*on_change)(void);

void credentials_on_change(void (*changed)(void)) { on_change = changed; }

static int changed(lua_State *L, int rc, const char *syscall) {
  if (rc == 0 && on_change) on_change();
  return result(L, rc, syscall);
}

static int l_setuid(lua_State *L) { return changed(L, setuid(check_user(L, 1, "id")), "setuid"); }
static int l_setgid(lua_State *L) { return changed(L, setgid(check_group(L, 1, "id")), "setgid"); }
static int l_seteuid(lua_State *L) { return changed(L, seteuid(check_user(L, 1, "id")), "seteuid"); }
static int l_setegid(lua_State *L) { return changed(L, setegid(check_group(L, 1, "id")), "setegid"); }

/* setgroups(list of ids or names) */
static int l_setgroups(lua_State *L) {
  enum { MAX_GROUPS = 4096 };
  if (!lua_istable(L, 1)) return errors_type(L, "groups", "table", 1);
  size_t count = lua_objlen(L, 1);
  if (count > MAX_GROUPS) return errors_throw(L, "ERR_OUT_OF_RANGE", "more than %d groups", MAX_GROUPS);
  gid_t *groups = lua_newuserdata(L, (count + 1) * sizeof *groups);
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, 1, (int)i + 1);
    groups[i] = check_group(L, -1, "groups");
    lua_pop(L, 1);
  }
  return changed(L, setgroups(count, groups), "setgroups");
}

/* initgroups(user, extra group) */
static int l_initgroups(lua_State *L) {
  uid_t uid = check_user(L, 1, "user");
  gid_t group = check_group(L, 2, "extraGroup");
  const struct passwd *user = getpwuid(uid);
  if (!user) return errors_throw(L, "ERR_UNKNOWN_CREDENTIAL", "User identifier does not exist");
  return changed(L, initgroups(user->pw_name, group), "initgroups");
}

/* signals() → { SIGTERM = 15, … }, all that Node knows on this system */
static int l_signals(lua_State *L) {
  static const struct {
    const char *name;
    int number;
  } signals[] = {
#define SIGNAL(name) {#name, name}
      SIGNAL(SIGHUP),    SIGNAL(SIGINT),  SIGNAL(SIGQUIT),  SIGNAL(SIGILL),  SIGNAL(SIGTRAP),
      SIGNAL(SIGABRT),   SIGNAL(SIGIOT),  SIGNAL(SIGBUS),   SIGNAL(SIGFPE),  SIGNAL(SIGKILL),
      SIGNAL(SIGUSR1),   SIGNAL(SIGSEGV), SIGNAL(SIGUSR2),  SIGNAL(SIGPIPE), SIGNAL(SIGALRM),
      SIGNAL(SIGTERM),   SIGNAL(SIGCHLD), SIGNAL(SIGCONT),  SIGNAL(SIGSTOP), SIGNAL(SIGTSTP),
      SIGNAL(SIGTTIN),   SIGNAL(SIGTTOU), SIGNAL(SIGURG),   SIGNAL(SIGXCPU), SIGNAL(SIGXFSZ),
      SIGNAL(SIGVTALRM), SIGNAL(SIGPROF), SIGNAL(SIGWINCH), SIGNAL(SIGIO),
#ifdef SIGPOLL
      SIGNAL(SIGPOLL),
#endif
#ifdef SIGSTKFLT
      SIGNAL(SIGSTKFLT),
#endif
#ifdef SIGPWR
      SIGNAL(SIGPWR),
#endif
      SIGNAL(SIGSYS),
#undef SIGNAL
  };
  lua_createtable(L, 0, sizeof signals / sizeof *signals);
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
    lua_pushinteger(L, signals[i].number);
    lua_setfield(L, -2, signals[i].name);
  }
  return 1;
}

/* tzset(): TZ has changed; os.date would go on with what it was. */
static int l_tzset(lua_State *L) {
  (void)L;
  tzset();
  return 0;
}

static void on_sigpipe(int number) { (void)number; }

/* ignorePipe(): writing to a peer that is gone is EPIPE from now on. By a handler and not by SIG_IGN, because
 * that would outlive exec in the children of os.execute and io.popen. */
static int l_ignore_pipe(lua_State *L) {
  struct sigaction action = {.sa_handler = on_sigpipe, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  return result(L, sigaction(SIGPIPE, &action, NULL), "sigaction");
}

/* versions() → { lrun = "…", luajit = "…", uv = "…", luv = "…", llhttp = "…" } */
static int l_versions(lua_State *L) {
  lua_newtable(L);
  lua_pushliteral(L, LRUN_VERSION);
  lua_setfield(L, -2, "lrun");
  lua_pushstring(L, &LUAJIT_VERSION[sizeof "LuaJIT " - 1]);
  lua_setfield(L, -2, "luajit");
  lua_pushstring(L, uv_version_string());
  lua_setfield(L, -2, "uv");
  lua_pushliteral(L, LRUN_LUV_VERSION);
  lua_setfield(L, -2, "luv");
  lua_pushfstring(L, "%d.%d.%d", LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR, LLHTTP_VERSION_PATCH);
  lua_setfield(L, -2, "llhttp");
  return 1;
}

int luaopen_lrun_system(lua_State *L) {
  static const luaL_Reg functions[] = {{"abort", l_abort},
                                       {"umask", l_umask},
                                       {"getuid", l_getuid},
                                       {"getgid", l_getgid},
                                       {"geteuid", l_geteuid},
                                       {"getegid", l_getegid},
                                       {"setuid", l_setuid},
                                       {"setgid", l_setgid},
                                       {"seteuid", l_seteuid},
                                       {"setegid", l_setegid},
                                       {"setgroups", l_setgroups},
                                       {"initgroups", l_initgroups},
                                       {"signals", l_signals},
                                       {"ignorePipe", l_ignore_pipe},
                                       {"tzset", l_tzset},
                                       {"versions", l_versions},
                                       {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  return 1;
}
