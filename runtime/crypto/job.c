/* crypto/job.c: see crypto/job.h. A job under way is in the list `under_way`, which the main thread alone touches. */
#include "crypto/job.h"

#include "host/callback.h"
#include "host/errors.h"
#include "host/vm.h"
#include "libcrypto/fault.h"
#include "libcrypto/library.h"
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static job_t *under_way;

static void job_free(job_t *job) {
  job->kind->release(job);
  free(job);
}

void bytes_free(bytes_t *bytes) {
  if (bytes->data == NULL) return;
  crypto_lib.OPENSSL_cleanse(bytes->data, bytes->len);
  free(bytes->data);
  *bytes = (bytes_t){0};
}

void *job_new(lua_State *L, const job_kind_t *kind) {
  job_t *job = calloc(1, kind->size);
  if (job == NULL) errors_throw(L, "ENOMEM", "not enough memory");
  job->kind = kind;
  job->vm = vm_of(L);
  return job;
}

void job_room(lua_State *L, job_t *job, bytes_t *bytes, size_t len) {
  bytes->data = malloc(len + 1); /* never nothing: OpenSSL takes that for "not given" */
  bytes->len = len;
  if (bytes->data != NULL) return;
  job_free(job);
  errors_throw(L, "ENOMEM", "not enough memory for %f bytes", (double)len);
}

void job_bytes(lua_State *L, job_t *job, bytes_t *bytes, int index) {
  size_t len;
  const char *data = lua_tolstring(L, index, &len);
  if (data == NULL) len = 0;
  job_room(L, job, bytes, len);
  if (len > 0) memcpy(bytes->data, data, len);
}

static void run(job_t *job) {
  libcrypto_clear();
  job->good = job->kind->run(job);
  if (!job->good) job->error = libcrypto_fault_take();
  else libcrypto_clear();
}

static int push(lua_State *L) {
  job_t *job = lua_touserdata(L, 1);
  if (job->good) return job->kind->push(L, job);
  lua_pushnil(L);
  libcrypto_fault_push(L, job->error);
  return 2;
}

/* Pushes the results, whose count it returns, and frees the job. A result for which Lua has no room is a fault like
 * any other: the loop that calls has nobody to catch what is thrown. */
static int finish(lua_State *L, job_t *job) {
  int top = lua_gettop(L);
  lua_pushcfunction(L, push);
  lua_pushlightuserdata(L, job);
  int rc = lua_pcall(L, 1, LUA_MULTRET, 0);
  job_free(job);
  if (rc != 0) {
    lua_pushnil(L);
    lua_insert(L, -2);
    lua_createtable(L, 0, 2);
    lua_insert(L, -2);
    lua_setfield(L, -2, "message");
    lua_pushliteral(L, "ENOMEM");
    lua_setfield(L, -2, "code");
  }
  return lua_gettop(L) - top;
}

static void on_thread(uv_work_t *work) {
  job_t *job = work->data;
  if (!__atomic_load_n(&job->abandoned, __ATOMIC_RELAXED)) run(job);
}

static void on_done(uv_work_t *work, int status) {
  job_t *job = work->data;
  (void)status;
  if (job->abandoned) {
    job_free(job);
    return;
  }
  *job->at = job->next;
  if (job->next != NULL) job->next->at = job->at;
  lua_State *L = vm_state(job->vm);
  luaL_checkstack(L, 8, "a job's result");
  lua_rawgeti(L, LUA_REGISTRYINDEX, job->callback);
  luaL_unref(L, LUA_REGISTRYINDEX, job->callback);
  callback_enter(L, finish(L, job));
}

int job_do(lua_State *L, job_t *job, int callback) {
  if (!lua_isfunction(L, callback)) {
    run(job);
    return finish(L, job);
  }
  job->work.data = job;
  int rc = uv_queue_work(vm_loop(job->vm), &job->work, on_thread, on_done);
  if (rc < 0) {
    job_free(job);
    errors_push(L, rc, "uv_queue_work");
    return lua_error(L);
  }
  lua_pushvalue(L, callback);
  job->callback = luaL_ref(L, LUA_REGISTRYINDEX);
  job->next = under_way;
  job->at = &under_way;
  if (job->next != NULL) job->next->at = &job->next;
  under_way = job;
  return 0;
}

/* Threads go on with what they have begun; nobody waits for its result any more. */
static void abandon(void *data) {
  (void)data;
  for (job_t *job = under_way; job != NULL; job = job->next)
    __atomic_store_n(&job->abandoned, true, __ATOMIC_RELAXED);
  under_way = NULL;
}

void job_prepare(lua_State *L) { vm_at_exit(vm_of(L), abandon, NULL); }
