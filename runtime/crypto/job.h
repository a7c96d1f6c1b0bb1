/* crypto/job.h: work that takes long: done at once, or on a thread of libuv's pool.
 *
 * A kind of job is a struct that begins with a job_t. Its maker copies into it what the work needs: no thread looks at
 * Lua's memory. The result is what `push` pushes; or nil and the table of the fault (libcrypto/fault.h). */
#ifndef LRUN_CRYPTO_JOB_H
#define LRUN_CRYPTO_JOB_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

typedef struct job job_t;

typedef struct {
  size_t size;
  bool (*run)(job_t *job);               /* on any thread; false: OpenSSL's queue there says why */
  int (*push)(lua_State *L, job_t *job); /* after a run that went well: results, and their count */
  void (*release)(job_t *job);           /* what it holds, and not itself */
} job_kind_t;

struct job {
  uv_work_t work;
  const job_kind_t *kind;
  struct vm *vm;
  int callback;        /* a reference in the registry */
  unsigned long error; /* why `run` failed */
  bool good;
  bool abandoned; /* atomic: the VM ends; what was not begun need not be */
  job_t *next, **at;
};

/* Bytes of the job's own; wiped when they are given back. */
typedef struct {
  unsigned char *data;
  size_t len;
} bytes_t;

/* Copies the string at `index` of the stack; throws where there is no memory, and releases the job before. */
void job_bytes(lua_State *L, job_t *job, bytes_t *bytes, int index);
/* Room for so many. */
void job_room(lua_State *L, job_t *job, bytes_t *bytes, size_t len);
void bytes_free(bytes_t *bytes);

/* A job that is all zero behind its head; throws where there is no memory. */
void *job_new(lua_State *L, const job_kind_t *kind);

/* Does it, and takes it. Without a function at `callback` it is done at once: the results are on the stack, to be
 * returned. Else the function gets them, later. */
int job_do(lua_State *L, job_t *job, int callback);

/* Before the first job: sees to it that none outlives the VM. */
void job_prepare(lua_State *L);

#endif
