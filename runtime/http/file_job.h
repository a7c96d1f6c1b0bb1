/* http/file_job.h: one file that is looked for on behalf of a request: a userdata of Lua's. What has to wait goes to the thread
 * pool; a job that is there is not collected. */
#ifndef LRUN_HTTP_FILE_JOB_H
#define LRUN_HTTP_FILE_JOB_H

#include "http/answer.h"

#include <lua.h>
#include <uv.h>

typedef struct http_file_job http_file_job_t;
struct http_file_job {
  uv_work_t req;
  lua_State *L;
  void (*work)(http_file_job_t *job); /* in the pool */
  int self, callback;                 /* registry refs while the pool has it */
  http_site_t *site;
  http_root_t *root; /* made by the pool, for the site */
  http_asked_t asked;
  http_answer_t answer;
  buffer_t names; /* of a folder: a letter, 'd' for a folder, the name, NUL */
  bool more_names;
  http_lookup_t lookup;
};

/* lookup(site, path or nil, head, callback, isTarget): the job when it was found at once, else nil, and the callback gets it.
 * Without a path it is the request's own; one that is a target is decoded. */
int http_file_lookup(lua_State *L);

/* open(job, callback): true when the file is open for reading, or cannot be; else nil, and the callback is called. */
int http_file_open(lua_State *L);

/* list(job, callback): the callback is called when the folder's names are there. */
int http_file_list(lua_State *L);

/* close(job): its descriptors are closed now. */
int http_file_close(lua_State *L);

static inline http_file_job_t *http_file_job(lua_State *L, int index) { return lua_touserdata(L, index); }

#endif
