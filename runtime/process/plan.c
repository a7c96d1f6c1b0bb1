/* process/plan.c: see process/plan.h. */
#include "process/plan.h"

#include "host/errors.h"
#include "host/fields.h"
#include "host/vm.h"
#include <errno.h>
#include <grp.h>
#include <lauxlib.h>
#include <pwd.h>
#include <stdint.h>
#include <sys/resource.h>
#include <unistd.h>

static const struct {
  const char *name;
  int resource;
} limit_names[] = {
    {"as", RLIMIT_AS},           {"core", RLIMIT_CORE},         {"cpu", RLIMIT_CPU},
    {"data", RLIMIT_DATA},       {"fsize", RLIMIT_FSIZE},       {"locks", RLIMIT_LOCKS},
    {"memlock", RLIMIT_MEMLOCK}, {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
    {"nofile", RLIMIT_NOFILE},   {"nproc", RLIMIT_NPROC},       {"rss", RLIMIT_RSS},
    {"rtprio", RLIMIT_RTPRIO},   {"rttime", RLIMIT_RTTIME},     {"sigpending", RLIMIT_SIGPENDING},
    {"stack", RLIMIT_STACK},
};

/* Room for `count` things of a size, and one more, on the stack. */
static void *room(lua_State *L, size_t count, size_t size) { return lua_newuserdata(L, (count + 1) * size); }

/* The strings of the sequence plan[field], ended by NULL. */
static char **read_strings(lua_State *L, int index, const char *field) {
  lua_getfield(L, index, field);
  if (lua_isnil(L, -1)) return NULL;
  size_t count = lua_objlen(L, -1);
  char **strings = room(L, count, sizeof *strings);
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, -2, (int)i + 1);
    strings[i] = (char *)luaL_checkstring(L, -1);
    lua_pop(L, 1);
  }
  strings[count] = NULL;
  return strings;
}

static const char *read_string(lua_State *L, int index, const char *field) {
  lua_getfield(L, index, field);
  const char *text = lua_tostring(L, -1);
  lua_pop(L, 1);
  return text;
}

/* Whether there is such a number; ids from -2^31 to 2^32 - 1 are the same 32 bits. */
static bool read_number(lua_State *L, int index, const char *field, int64_t *number) {
  lua_getfield(L, index, field);
  bool there = !lua_isnil(L, -1);
  if (there) *number = (int64_t)lua_tonumber(L, -1);
  lua_pop(L, 1);
  return there;
}

static void read_stdio(lua_State *L, int index, plan_t *plan) {
  lua_getfield(L, index, "stdio");
  size_t count = lua_objlen(L, -1);
  if (count > PLAN_MAX_SLOTS) luaL_error(L, "more than %d stdio slots", (int)PLAN_MAX_SLOTS);
  plan->stdio = room(L, count, sizeof *plan->stdio);
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, -2, (int)i + 1);
    plan->stdio[i] = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
  }
  plan->launch.stdio = plan->stdio;
  plan->launch.stdio_count = (int)count;
}

/* A soft or hard limit; what it is now when none is given. */
static rlim_t read_limit(lua_State *L, int position, rlim_t now) {
  lua_rawgeti(L, -1, position);
  lua_Number number = lua_tonumber(L, -1);
  bool given = !lua_isnil(L, -1);
  lua_pop(L, 1);
  if (!given) return now;
  return number >= (lua_Number)RLIM_INFINITY ? RLIM_INFINITY : (rlim_t)number;
}

static void read_limits(lua_State *L, int index, launch_plan_t *plan) {
  lua_getfield(L, index, "limits");
  if (lua_isnil(L, -1)) return;
  size_t count = lua_objlen(L, -1);
  launch_limit_t *limits = room(L, count, sizeof *limits);
  for (size_t i = 0; i < count; i++) {
    struct rlimit now = {RLIM_INFINITY, RLIM_INFINITY};
    lua_rawgeti(L, -2, (int)i + 1);
    lua_rawgeti(L, -1, 1);
    limits[i].resource = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    getrlimit((__rlimit_resource_t)limits[i].resource, &now);
    limits[i].limit.rlim_cur = read_limit(L, 2, now.rlim_cur);
    limits[i].limit.rlim_max = read_limit(L, 3, now.rlim_max);
    lua_pop(L, 1);
  }
  plan->limits = limits;
  plan->limit_count = (int)count;
}

/* groups[i], a sequence on top of the stack, is an id or a name. */
static bool read_group(lua_State *L, int i, gid_t *id) {
  lua_rawgeti(L, -1, i);
  bool known = lua_type(L, -1) == LUA_TNUMBER;
  if (known) {
    *id = (gid_t)(int64_t)lua_tonumber(L, -1);
  } else {
    const struct group *group = getgrnam(lua_tostring(L, -1));
    known = group != NULL;
    if (known) *id = group->gr_gid;
  }
  lua_pop(L, 1);
  return known;
}

static bool read_groups(lua_State *L, launch_plan_t *plan) {
  size_t count = lua_objlen(L, -1);
  gid_t *groups = room(L, count, sizeof *groups);
  lua_insert(L, -2); /* it stays below the sequence, and after it */
  for (size_t i = 0; i < count; i++) {
    if (read_group(L, (int)i + 1, &groups[i])) continue;
    errors_push(L, -ENOENT, "getgrnam");
    lua_pushboolean(L, true);
    lua_setfield(L, -2, "refused");
    return false;
  }
  lua_pop(L, 1);
  plan->groups = groups;
  plan->group_count = count;
  plan->groups_from = LAUNCH_GROUPS_GIVEN;
  return true;
}

/* Those that the user of plan->uid would have after a login, never those that this process happens to have. */
static void imply_groups(lua_State *L, launch_plan_t *plan) {
  plan->groups_from = LAUNCH_GROUPS_IMPLIED;
  if (!plan->has_uid) return;
  const struct passwd *user = getpwuid(plan->uid);
  if (!user) return;
  if (!plan->has_gid && geteuid() == 0 && getegid() == 0) {
    plan->has_gid = true; /* nor root's own group; Node would keep it */
    plan->gid = user->pw_gid;
  }
  gid_t own = plan->has_gid ? plan->gid : user->pw_gid;
  int count = 64;
  gid_t *groups = lua_newuserdata(L, (size_t)count * sizeof *groups);
  if (getgrouplist(user->pw_name, own, groups, &count) < 0) {
    groups = lua_newuserdata(L, (size_t)count * sizeof *groups);
    if (getgrouplist(user->pw_name, own, groups, &count) < 0) return;
  }
  plan->groups = groups;
  plan->group_count = (size_t)count;
}

static bool read_ids(lua_State *L, int index, launch_plan_t *plan) {
  int64_t number = 0;
  if ((plan->has_uid = read_number(L, index, "uid", &number))) plan->uid = (uid_t)number;
  if ((plan->has_gid = read_number(L, index, "gid", &number))) plan->gid = (gid_t)number;
  lua_getfield(L, index, "groups");
  if (!lua_isnil(L, -1)) return read_groups(L, plan);
  lua_pop(L, 1);
  if (plan->has_uid || plan->has_gid) imply_groups(L, plan);
  return true;
}

bool plan_read(lua_State *L, int index, plan_t *plan) {
  int64_t number = 0;
  luaL_checktype(L, index, LUA_TTABLE);
  luaL_checkstack(L, 20, "plan");
  *plan = (plan_t){0};
  launch_plan_t *launch = &plan->launch;
  launch->file = read_string(L, index, "file");
  launch->cwd = read_string(L, index, "cwd");
  launch->args = read_strings(L, index, "args");
  launch->env = read_strings(L, index, "env");
  launch->detached = fields_flag(L, index, "detached");
  read_stdio(L, index, plan);
  read_limits(L, index, launch);
  if ((launch->has_umask = read_number(L, index, "umask", &number))) launch->umask = (mode_t)number;
  if ((launch->has_nice = read_number(L, index, "nice", &number))) launch->nice = (int)number;
  if (read_number(L, index, "deathSignal", &number)) launch->death_signal = (int)number;
  return read_ids(L, index, launch);
}

pid_t plan_launch(lua_State *L, const plan_t *plan) {
  launch_failure_t failure;
  vm_flush(vm_of(L), false);
  pid_t pid = launch(&plan->launch, &failure);
  if (pid > 0) return pid;
  errors_push(L, failure.code, failure.syscall);
  if (failure.attribute) {
    lua_pushboolean(L, true);
    lua_setfield(L, -2, "refused");
  }
  if (failure.limit < 0) return pid;
  lua_pushinteger(L, failure.limit + 1);
  lua_setfield(L, -2, "limit");
  return pid;
}

int plan_failed(lua_State *L) {
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

void plan_export(lua_State *L) {
  lua_pushinteger(L, PLAN_IGNORE);
  lua_setfield(L, -2, "IGNORE");
  lua_pushinteger(L, PLAN_PIPE);
  lua_setfield(L, -2, "PIPE");
  lua_pushinteger(L, PLAN_MAX_SLOTS);
  lua_setfield(L, -2, "MAX_SLOTS");
  lua_newtable(L);
  for (size_t i = 0; i < sizeof limit_names / sizeof *limit_names; i++) {
    lua_pushinteger(L, limit_names[i].resource);
    lua_setfield(L, -2, limit_names[i].name);
  }
  lua_setfield(L, -2, "LIMITS");
}
