/* http/site.h: where files are and how they are answered: what the options of sendFile and serveFiles say.
 *
 * A site is a userdata of Lua's. It holds the directory that its paths are below open for a moment: while requests come one
 * after another they share a descriptor, and a root that was exchanged (a new release behind a link) is seen soon. */
#ifndef LRUN_HTTP_SITE_H
#define LRUN_HTTP_SITE_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

/* The directory, open; the last user closes it. */
typedef struct {
  int fd; /* AT_FDCWD where paths are absolute */
  unsigned users;
  bool memory; /* of a file system in memory */
} http_root_t;

typedef enum { HTTP_DOTFILES_IGNORE, HTTP_DOTFILES_DENY, HTTP_DOTFILES_ALLOW } http_dotfiles_t;

struct http_held;

typedef struct http_site {
  char *root; /* NULL: paths are absolute */
  http_root_t *open;
  char *type, *cache_control; /* NULL: by the name; none */
  char **index, **extensions; /* each ends with NULL */
  http_dotfiles_t dotfiles;
  bool etag, modified, ranges, links, precompressed;
  bool pages;             /* serveFiles: paths are those of URLs, folders have pages */
  bool listing;           /* a folder without an index is found as such */
  struct http_held *held; /* http/held.h; as long as the root is open */
  bool opened;            /* since Lua asked last: it is to be closed in a while */
} http_site_t;

/* site(options) → userdata. The options were checked. */
int http_site_new(lua_State *L);
/* siteOpened(site) → whether the root was opened since the last call. siteClose(site): it is closed when its users are done. */
int http_site_opened(lua_State *L);
int http_site_close(lua_State *L);

/* The open root for a user, or NULL with a negative code. `now`: only if that waits for nothing, else UV_EAGAIN. */
http_root_t *http_site_root(http_site_t *site, bool now, int *error);
void http_root_release(http_root_t *root);

/* For the pool: opens the root, which the loop then gives to the site. */
http_root_t *http_root_open(const char *path, bool now, int *error);
void http_site_take(http_site_t *site, http_root_t *root);

#endif
