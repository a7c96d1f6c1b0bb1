/* http/lookup.h: from a path to an open file: what a request's path means on a site. No Lua, no connection: a lookup runs on
 * the loop as long as nothing has to be waited for, else in the thread pool. */
#ifndef LRUN_HTTP_LOOKUP_H
#define LRUN_HTTP_LOOKUP_H

#include "http/asked.h"
#include "http/site.h"

#include <limits.h>
#include <sys/stat.h>

typedef enum {
  HTTP_FOUND_FILE = 1,
  HTTP_FOUND_FOLDER,  /* without its slash */
  HTTP_FOUND_LISTING, /* a folder that has no index */
  HTTP_FOUND_NOTHING,
  HTTP_FOUND_DENIED, /* a name with a dot, no permission, a way out */
  HTTP_FOUND_BAD,    /* no path: NUL, a malformed escape */
  HTTP_FOUND_FAILED,
  HTTP_FOUND_LATER /* it may take a while: ask the pool */
} http_found_t;

typedef struct {
  int fd; /* O_PATH, or -1 */
  struct statx st;
} http_inode_t;

enum { HTTP_LOOKUP_SUFFIX = 64 + NAME_MAX }; /* room for an index, an ending and a coding */

typedef struct {
  http_site_t *site;
  http_root_t *root;
  http_found_t found;
  int error;          /* why not, a negative UV_E*, or 0 */
  const char *coding; /* of what is sent: "gzip", "br", or NULL */
  bool varies;        /* another client could have got another coding */
  bool lent;          /* its descriptors are the site's (http/held.h) */
  bool slash, dots;   /* the path: ended in a slash; has a name with a dot */
  size_t len, asked;  /* of the path; of what was asked for of it, without an index or ending */
  char first;         /* its first byte, as it was asked for */
  http_inode_t file;  /* what was asked for */
  http_inode_t coded; /* what is sent in its place */
  int reading;        /* open for reading, or -1 */
  char path[PATH_MAX + HTTP_LOOKUP_SUFFIX]; /* below the root, without `.` and `..`; "." is the root */
} http_lookup_t;

/* Begins with a path, or with a request's target. What is no path is found at once (`found`), else 0. The root is the
 * caller's to set, and to release. */
void http_lookup_begin(http_lookup_t *lookup, http_site_t *site, const char *path, size_t len, bool target);

/* Finds what the path means, and the coding that the client likes most. Sets `found`. */
void http_lookup_find(http_lookup_t *lookup, http_weights_t likes, bool now);

/* Whether it is on a file system that answers without a wire: the loop may open it. On the loop alone. */
bool http_inode_is_local(const http_inode_t *inode);

/* Opens what is sent for reading. 0, UV_EAGAIN where that may take a while, or UV_E*. */
int http_lookup_open(http_lookup_t *lookup, bool now);

/* Closes its descriptors; the descriptor for reading is the caller's where it is taken first. */
void http_lookup_close(http_lookup_t *lookup);

/* What is sent. */
static inline const http_inode_t *http_lookup_sent(const http_lookup_t *lookup) {
  return lookup->coding != NULL ? &lookup->coded : &lookup->file;
}

#endif
