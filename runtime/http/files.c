/* http/files.c: see http/files.h. Two ways lead to the same answer. Most requests take the short one: the file is found, judged
 * and written while its request is being parsed, in one call of compiled code, without Lua and without a wait. All others are
 * jobs (http/file_job.c), and Lua decides between the steps. */
#include "http/files.h"

#include "files/files.h"
#include "host/userdata.h"
#include "http/file_job.h"
#include "http/format.h"
#include "http/head.h"
#include "http/held.h"
#include "http/module.h"
#include "http/types.h"

#include <fcntl.h>
#include <lauxlib.h>
#include <string.h>

/* The short way ------------------------------------------------------------------------------------------------------ */

/* The whole answer goes to the output. 0 or UV_E*: the connection cannot go on. */
static int write_answer(http_conn_t *conn, http_exchange_t *e, http_lookup_t *lookup,
                        const http_answer_t *answer, const http_asked_t *asked) {
  static const http_preset_t none;
  buffer_t *out = http_exchange_buffer(conn, e);
  int rc = http_response_status(out, answer->status, NULL, 0);
  if (rc == 0) rc = http_answer_fields(answer, lookup, &none, out);
  if (rc == 0) rc = http_head_end(conn, e, out, answer->status, http_answer_length(answer));
  e->left = 0; /* all of it is written here */
  if (rc < 0 || !http_answer_has_body(answer, asked)) return rc;
  if (http_answer_body_now(answer, lookup->reading, out)) return 0;
  int fd = lookup->lent ? fcntl(lookup->reading, F_DUPFD_CLOEXEC, 0) : lookup->reading;
  if (!lookup->lent) lookup->reading = -1;
  return http_answer_body(answer, fd, &conn->stream);
}

/* What was found is an answer that needs nobody's decision: its status, or 0. */
static int try_found(http_conn_t *conn, http_exchange_t *e, http_lookup_t *lookup,
                     const http_asked_t *asked) {
  static const http_preset_t none;
  http_answer_t answer;
  int done = 0;
  if (http_answer_begin(&answer, lookup, asked, &none) == 0 && answer.status < 400 && answer.count <= 1) {
    bool body = http_answer_has_body(&answer, asked);
    if (!body || (e == conn->first && (lookup->reading >= 0 || http_lookup_open(lookup, true) == 0))) {
      if (write_answer(conn, e, lookup, &answer, asked) < 0) e->keep_alive = false;
      http_exchange_end(conn, e);
      done = answer.status;
    }
  }
  http_answer_free(&answer);
  return done;
}

/* fileTry(conn, id, site, path or NULL, its length, head, its length): called through the FFI while the request is being
 * parsed, so that the write comes later. The status of the answer, or 0: it takes a job; and whether the root was opened for it
 * (FILES_OPENED). */
static int file_try(http_conn_t *conn, uint32_t id, http_site_t *site, const char *path, size_t len,
                    const char *head, size_t head_len) {
  if (!http_conn_is_open(conn) || !conn->parsing) return 0;
  http_exchange_t *e = http_exchange_find(conn, id);
  if (e == NULL || e->started || http_conn_pending(conn) >= HTTP_MAX_OUTPUT) return 0;
  http_asked_t asked;
  http_lookup_t lookup;
  int done = 0, error;
  bool read = http_asked_read(&asked, head, head_len) == 0;
  if (read && (asked.get || asked.head)) {
    if (path != NULL) http_lookup_begin(&lookup, site, path, len, false);
    else http_lookup_begin(&lookup, site, asked.target.data, asked.target.len, true);
    if (lookup.found == 0 && (lookup.root = http_site_root(site, true, &error)) != NULL) {
      if (!http_held_find(&lookup)) http_lookup_find(&lookup, http_asked_codings(&asked), true);
      if (lookup.found == HTTP_FOUND_FILE) done = try_found(conn, e, &lookup, &asked);
      http_held_keep(&lookup);
      http_lookup_close(&lookup);
      http_root_release(lookup.root);
    }
  }
  http_asked_free(&asked);
  if (site->opened) done |= HTTP_FILES_OPENED;
  site->opened = false;
  return done;
}

/* Jobs --------------------------------------------------------------------------------------------------------------- */

static http_span_t span_at(lua_State *L, int index) {
  http_span_t span = {0};
  if (!lua_isnoneornil(L, index)) span.data = lua_tolstring(L, index, &span.len);
  return span;
}

/* What the program has set: etag, modified, type, cacheControl, vary from `index` on. */
static http_preset_t preset_at(lua_State *L, int index) {
  return (http_preset_t){.etag = span_at(L, index),
                         .modified = span_at(L, index + 1),
                         .type = span_at(L, index + 2),
                         .cache_control = lua_toboolean(L, index + 3),
                         .vary = lua_toboolean(L, index + 4)};
}

/* fileFacts(job) → what was found (a number of `files`), negative code or 0, path below the root, whether it varies, the size of
 * what is sent, its coding or nil, whether a page may be the answer to what is missing. */
static int l_facts(lua_State *L) {
  const http_file_job_t *job = http_file_job(L, 1);
  const http_lookup_t *lookup = &job->lookup;
  lua_pushinteger(L, lookup->found);
  lua_pushinteger(L, lookup->error);
  lua_pushlstring(L, lookup->path, lookup->len);
  lua_pushboolean(L, lookup->varies);
  lua_pushnumber(L, (lua_Number)http_lookup_sent(lookup)->st.stx_size);
  lua_pushstring(L, lookup->coding);
  const char *dot = lookup->len > 0 ? memrchr(lookup->path, '.', lookup->len) : NULL;
  bool plain =
      dot == NULL || memchr(dot, '/', (size_t)(lookup->path + lookup->len - dot)) != NULL || lookup->len == 1;
  lua_pushboolean(L, http_asked_page(&job->asked, plain));
  return 7;
}

/* fileStats(job): of the file that was asked for, as lrun/fs/stats.lua has it told. */
static int l_stats(lua_State *L) {
  files_tell_stat(&http_file_job(L, 1)->lookup.file.st);
  return 0;
}

/* fileJudge(job, etag, modified, type, cacheControl, vary) → status, whether the file has to be read, bytes of the body. The last five: what the
 * program has set, or nil. */
static int l_judge(lua_State *L) {
  http_file_job_t *job = http_file_job(L, 1);
  http_preset_t preset = preset_at(L, 2);
  http_answer_free(&job->answer);
  if (http_answer_begin(&job->answer, &job->lookup, &job->asked, &preset) < 0)
    return luaL_error(L, "not enough memory");
  lua_pushinteger(L, job->answer.status);
  bool body = http_answer_has_body(&job->answer, &job->asked);
  lua_pushboolean(L, body);
  lua_pushnumber(L, body ? (lua_Number)job->answer.length : 0);
  return 3;
}

/* fileFields(job, etag, modified, type, cacheControl, vary) → the lines that the answer would have, for who sends it otherwise. */
static int l_fields(lua_State *L) {
  const http_file_job_t *job = http_file_job(L, 1);
  http_preset_t preset = preset_at(L, 2);
  buffer_t lines = {0};
  int rc = http_answer_fields(&job->answer, &job->lookup, &preset, &lines);
  if (rc == 0) lua_pushlstring(L, lines.data != NULL ? lines.data : "", lines.len);
  buffer_free(&lines);
  return rc == 0 ? 1 : luaL_error(L, "not enough memory");
}

/* fileTake(job) → the descriptor for reading, which is the caller's now. */
static int l_take(lua_State *L) {
  http_lookup_t *lookup = &http_file_job(L, 1)->lookup;
  lua_pushinteger(L, lookup->reading);
  lookup->reading = -1;
  return 1;
}

static int put_job(lua_State *L, http_conn_t *conn, http_exchange_t *e, http_file_job_t *job,
                   const http_preset_t *preset) {
  buffer_t lines = {0};
  buffer_t *out = http_exchange_buffer(conn, e);
  int rc = http_answer_fields(&job->answer, &job->lookup, preset, &lines);
  if (rc == 0) {
    http_head_lines_t own = {lines.data, lines.len, http_answer_length(&job->answer)};
    rc = http_head_response(L, conn, e, out, job->answer.status, 4, 5, -1, (int)lua_tointeger(L, 6), &own);
  }
  buffer_free(&lines);
  e->left = 0; /* all of it is written here */
  if (rc < 0 || e->bodyless || !http_answer_has_body(&job->answer, &job->asked)) return rc;
  if (http_answer_body_now(&job->answer, job->lookup.reading, out)) return 0;
  int fd = job->lookup.reading;
  job->lookup.reading = -1;
  return http_answer_body(&job->answer, fd, &conn->stream);
}

/* fileSend(conn, id, job, message, fields, flags, etag, modified, type, cacheControl, vary) → true; "later" while an earlier
 * response is not complete; nil when it is too late. */
static int l_send(lua_State *L) {
  http_conn_t *conn = http_module_conn(L, 1);
  http_exchange_t *e =
      http_conn_is_open(conn) ? http_exchange_find(conn, (uint32_t)lua_tointeger(L, 2)) : NULL;
  http_file_job_t *job = http_file_job(L, 3);
  if (e == NULL) return 0;
  if (e != conn->first) {
    lua_pushliteral(L, "later");
    return 1;
  }
  http_preset_t preset = preset_at(L, 7);
  int rc = put_job(L, conn, e, job, &preset);
  if (rc < 0) {
    http_conn_close(L, conn, rc);
    return 0;
  }
  http_exchange_end(conn, e);
  if (!conn->parsing) http_conn_flush(L, conn);
  if (http_conn_is_open(conn)) http_conn_resume(L, conn);
  lua_pushboolean(L, 1);
  return 1;
}

/* fileNames(job) → names of a folder, whether each is a folder, whether there are more. */
static int l_names(lua_State *L) {
  const http_file_job_t *job = http_file_job(L, 1);
  lua_newtable(L);
  lua_newtable(L);
  int n = 0;
  for (size_t at = 0; at < job->names.len;) {
    const char *entry = job->names.data + at;
    lua_pushstring(L, entry + 1);
    lua_rawseti(L, -3, ++n);
    lua_pushboolean(L, entry[0] == 'd');
    lua_rawseti(L, -2, n);
    at += strlen(entry) + 1;
  }
  lua_pushboolean(L, job->more_names);
  return 3;
}

/* typeOfEnding("html") → a media type, or nil. */
static int l_type(lua_State *L) {
  size_t len;
  const char *ending = luaL_checklstring(L, 1, &len);
  lua_pushstring(L, http_type_of_ending(ending, len));
  return 1;
}

void http_files_register(lua_State *L) {
  static const luaL_Reg functions[] = {{"site", http_site_new},        {"siteOpened", http_site_opened},
                                       {"siteClose", http_site_close}, {"fileLookup", http_file_lookup},
                                       {"fileFacts", l_facts},         {"fileStats", l_stats},
                                       {"fileJudge", l_judge},         {"fileFields", l_fields},
                                       {"fileOpen", http_file_open},   {"fileTake", l_take},
                                       {"fileSend", l_send},           {"fileList", http_file_list},
                                       {"fileNames", l_names},         {"fileClose", http_file_close},
                                       {"typeOfEnding", l_type},       {NULL, NULL}};
  luaL_register(L, NULL, functions);
  userdata_address(L, "fileTry", (address_t)file_try);
}
