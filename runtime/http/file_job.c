/* http/file_job.c: see http/file_job.h. */
#include "http/file_job.h"

#include "files/beneath.h"
#include "host/callback.h"
#include "host/vm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { MOST_NAMES = 10000 }; /* of a folder that are listed */

/* The pool ----------------------------------------------------------------------------------------------------------- */

static void run_in_pool(uv_work_t *req) {
  http_file_job_t *job = req->data;
  job->work(job);
}

static void after_pool(uv_work_t *req, int status) {
  http_file_job_t *job = req->data;
  lua_State *L = job->L;
  if (job->root != NULL) {
    http_site_take(job->site, job->root);
    job->root = NULL;
  }
  if (status < 0) job->lookup.error = status;
  lua_State *co = callback_begin(L);
  lua_rawgeti(co, LUA_REGISTRYINDEX, job->callback);
  lua_rawgeti(co, LUA_REGISTRYINDEX, job->self);
  luaL_unref(L, LUA_REGISTRYINDEX, job->callback);
  luaL_unref(L, LUA_REGISTRYINDEX, job->self);
  callback_run(co, 1);
}

/* The job is at index `self`, the callback at `callback`. 0 or UV_E*. */
static int give_to_pool(lua_State *L, int self, int callback, void (*work)(http_file_job_t *)) {
  http_file_job_t *job = http_file_job(L, self);
  luaL_checktype(L, callback, LUA_TFUNCTION);
  lua_pushvalue(L, self);
  job->self = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pushvalue(L, callback);
  job->callback = luaL_ref(L, LUA_REGISTRYINDEX);
  job->work = work;
  job->req.data = job;
  int rc = uv_queue_work(vm_loop(vm_of(L)), &job->req, run_in_pool, after_pool);
  if (rc == 0) return 0;
  luaL_unref(L, LUA_REGISTRYINDEX, job->callback);
  luaL_unref(L, LUA_REGISTRYINDEX, job->self);
  return rc;
}

/* Looking ------------------------------------------------------------------------------------------------------------ */

/* The root's own file system is known by now. */
static void learn_root(http_root_t *root) {
  struct statfs fs;
  if (root->fd >= 0 && !root->memory && fstatfs(root->fd, &fs) == 0) root->memory = fs.f_type == TMPFS_MAGIC;
}

static void look_in_pool(http_file_job_t *job) {
  http_lookup_t *lookup = &job->lookup;
  if (lookup->root == NULL) {
    lookup->root = job->root = http_root_open(job->site->root, false, &lookup->error);
    if (lookup->root == NULL) {
      lookup->found = lookup->error == UV_EACCES ? HTTP_FOUND_DENIED : HTTP_FOUND_NOTHING;
      return;
    }
  }
  learn_root(lookup->root);
  http_lookup_find(lookup, http_asked_codings(&job->asked), false);
  if (lookup->found != HTTP_FOUND_FILE) return;
  int rc = http_lookup_open(lookup, false);
  if (rc < 0) lookup->error = rc;
}

static void look_now(http_file_job_t *job) {
  http_lookup_t *lookup = &job->lookup;
  if (lookup->found != 0) return;
  lookup->root = http_site_root(job->site, true, &lookup->error);
  if (lookup->root == NULL) lookup->found = HTTP_FOUND_LATER;
  else http_lookup_find(lookup, http_asked_codings(&job->asked), true);
}

int http_file_close(lua_State *L) {
  http_file_job_t *job = http_file_job(L, 1);
  http_lookup_close(&job->lookup);
  http_root_release(job->lookup.root);
  job->lookup.root = NULL;
  http_asked_free(&job->asked);
  http_answer_free(&job->answer);
  buffer_free(&job->names);
  return 0;
}

static void push_class(lua_State *L) {
  if (luaL_newmetatable(L, "lrun.http.file_job") == 0) return;
  lua_pushcfunction(L, http_file_close);
  lua_setfield(L, -2, "__gc");
}

int http_file_lookup(lua_State *L) {
  size_t len, head_len;
  const char *path = lua_tolstring(L, 2, &len), *head = luaL_checklstring(L, 3, &head_len);
  bool target = lua_toboolean(L, 5);
  lua_settop(L, 4);
  http_file_job_t *job = lua_newuserdata(L, sizeof *job);
  memset(job, 0, offsetof(http_file_job_t, lookup));
  job->lookup.file.fd = job->lookup.coded.fd = job->lookup.reading = -1;
  job->lookup.root = NULL;
  job->L = vm_state(vm_of(L));
  job->site = lua_touserdata(L, 1);
  push_class(L);
  lua_setmetatable(L, 5);
  lua_createtable(L, 2, 0); /* holds what the job points into */
  lua_pushvalue(L, 1);
  lua_rawseti(L, -2, 1);
  lua_pushvalue(L, 3);
  lua_rawseti(L, -2, 2);
  lua_setfenv(L, 5);
  if (http_asked_read(&job->asked, head, head_len) < 0) return luaL_error(L, "not enough memory");
  if (path != NULL) http_lookup_begin(&job->lookup, job->site, path, len, target);
  else http_lookup_begin(&job->lookup, job->site, job->asked.target.data, job->asked.target.len, true);
  look_now(job);
  if (job->lookup.found != HTTP_FOUND_LATER) return 1;
  int rc = give_to_pool(L, 5, 4, look_in_pool);
  if (rc == 0) return 0;
  job->lookup.found = HTTP_FOUND_FAILED;
  job->lookup.error = rc;
  return 1;
}

/* Opening ---------------------------------------------------------------------------------------------------------- */

static void open_in_pool(http_file_job_t *job) { job->lookup.error = http_lookup_open(&job->lookup, false); }

int http_file_open(lua_State *L) {
  http_lookup_t *lookup = &http_file_job(L, 1)->lookup;
  int rc = lookup->error;
  if (rc == 0 && lookup->reading < 0) rc = http_lookup_open(lookup, true);
  if (rc == UV_EAGAIN) {
    rc = give_to_pool(L, 1, 2, open_in_pool);
    if (rc == 0) return 0;
  }
  lookup->error = rc;
  lua_pushboolean(L, 1);
  return 1;
}

/* Listing ------------------------------------------------------------------------------------------------------------ */

/* 'd' for a folder, 'f' for another thing that can be reached, 0 for what cannot. */
static char letter_of(const http_file_job_t *job, const struct dirent *entry) {
  if (entry->d_type == DT_DIR) return 'd';
  if (entry->d_type == DT_REG) return 'f';
  if (entry->d_type != DT_LNK && entry->d_type != DT_UNKNOWN) return 0;
  const http_lookup_t *l = &job->lookup;
  char path[PATH_MAX + NAME_MAX + 2];
  size_t n = strlen(entry->d_name);
  memcpy(path, l->path, l->len);
  path[l->len] = '/';
  memcpy(path + l->len + 1, entry->d_name, n + 1);
  int fd = beneath_find(l->root->fd, path, l->site->links ? BENEATH_LINKS : 0);
  if (fd < 0) return 0;
  struct statx st;
  int rc = beneath_stat(fd, &st);
  close(fd);
  return rc < 0 ? 0 : S_ISDIR(st.stx_mode) ? 'd' : S_ISREG(st.stx_mode) ? 'f' : 0;
}

static int add_entry(http_file_job_t *job, const struct dirent *entry) {
  char letter = letter_of(job, entry);
  if (letter == 0) return 0;
  int rc = buffer_add(&job->names, &letter, 1);
  return rc == 0 ? buffer_add(&job->names, entry->d_name, strlen(entry->d_name) + 1) : rc;
}

static void list_in_pool(http_file_job_t *job) {
  int fd = beneath_open(job->lookup.file.fd, O_RDONLY | O_DIRECTORY);
  DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
  job->lookup.error = fd < 0 ? fd : folder == NULL ? UV_ENOMEM : 0;
  if (folder == NULL) {
    if (fd >= 0) close(fd);
    return;
  }
  const struct dirent *entry;
  bool all = job->site->dotfiles == HTTP_DOTFILES_ALLOW;
  int count = 0;
  while (job->lookup.error == 0 && (entry = readdir(folder)) != NULL) {
    const char *name = entry->d_name;
    if (name[0] == '.' && (!all || name[1] == 0 || (name[1] == '.' && name[2] == 0))) continue;
    if (++count > MOST_NAMES) {
      job->more_names = true;
      break;
    }
    job->lookup.error = add_entry(job, entry);
  }
  closedir(folder);
}

int http_file_list(lua_State *L) {
  http_file_job_t *job = http_file_job(L, 1);
  int rc = give_to_pool(L, 1, 2, list_in_pool);
  if (rc < 0) return luaL_error(L, "%s", uv_strerror(rc));
  (void)job;
  return 0;
}
