/* http/lookup.c: see http/lookup.h.
 *
 * A path is decoded and cut into names first: `.` and `..` are resolved in the text, so that the kernel is never asked for a
 * step up but by a link. What it means is then looked at without being opened (O_PATH): a pipe or a device is never touched.
 * The inode that was looked at is the one that is opened for reading. */
#include "http/lookup.h"

#include "files/beneath.h"
#include "files/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

/* The path --------------------------------------------------------------------------------------------------------------- */

static int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 32;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The path of a target: behind "http://host", before the query. False for what has none. */
static bool cut_target(const char **text, size_t *len) {
  const char *p = *text, *end = p + *len;
  if (p < end && *p != '/') {
    const char *colon = memchr(p, ':', (size_t)(end - p));
    if (colon == NULL || end - colon < 3 || memcmp(colon, "://", 3) != 0) return false;
    p = colon + 3;
    while (p < end && *p != '/' && *p != '?' && *p != '#') p++;
    if (p == end || *p != '/') {
      *text = "/";
      *len = 1;
      return true;
    }
  }
  const char *to = p;
  while (to < end && *to != '?' && *to != '#') to++;
  *text = p;
  *len = (size_t)(to - p);
  return *len > 0;
}

/* Decodes the text into `to`; how long it is, or -1 for what is no path, PATH_MAX for one that is too long. */
static int decode(const char *at, size_t len, bool escaped, char to[PATH_MAX]) {
  const char *end = at + len;
  int n = 0;
  while (at < end) {
    int c = (unsigned char)*at++;
    if (c == '%' && escaped) {
      int high = end - at >= 2 ? hex(at[0]) : -1, low = high >= 0 ? hex(at[1]) : -1;
      if (low < 0) return -1;
      c = high * 16 + low;
      at += 2;
    }
    if (c == 0) return -1;
    if (n < PATH_MAX) to[n++] = (char)c;
  }
  return n;
}

/* A name goes behind the path: `.` and `..` do what they say. False for a step above the root, and for any step up of an
 * absolute path. `first` is how much of the path is no name. */
static bool add_name(http_lookup_t *l, const char *name, size_t n, size_t first) {
  l->slash = n == 0 || (n == 1 && memcmp(name, ".", 1) == 0) || (n == 2 && memcmp(name, "..", 2) == 0);
  if (l->slash && n < 2) return true;
  if (l->slash) {
    if (first > 0 || l->len == 0) return false;
    while (l->len > 0 && l->path[l->len - 1] != '/') l->len--;
    if (l->len > 0) l->len--;
    return true;
  }
  if (l->len > first) l->path[l->len++] = '/';
  memcpy(l->path + l->len, name, n);
  l->len += n;
  return true;
}

static bool has_dots(const http_lookup_t *l) {
  for (size_t i = 0; i < l->len; i++) {
    if (l->path[i] == '.' && (i == 0 || l->path[i - 1] == '/')) return true;
  }
  return false;
}

static http_found_t cut_names(http_lookup_t *l, const char *text, size_t len) {
  size_t first = l->site->root == NULL ? 1 : 0;
  const char *at = text, *end = text + len;
  l->len = first;
  l->path[0] = '/';
  for (;;) {
    const char *slash = memchr(at, '/', (size_t)(end - at));
    const char *to = slash != NULL ? slash : end;
    if (!add_name(l, at, (size_t)(to - at), first)) {
      l->error = UV_EXDEV;
      return HTTP_FOUND_DENIED;
    }
    if (slash == NULL) break;
    at = slash + 1;
  }
  l->dots = has_dots(l);
  if (l->len == 0) l->path[l->len++] = '.';
  l->path[l->len] = 0;
  l->asked = l->len;
  l->first = l->path[0];
  if (!l->dots || l->site->dotfiles == HTTP_DOTFILES_ALLOW) return 0;
  bool deny = l->site->dotfiles == HTTP_DOTFILES_DENY;
  l->error = deny ? UV_EACCES : UV_ENOENT;
  return deny ? HTTP_FOUND_DENIED : HTTP_FOUND_NOTHING;
}

void http_lookup_begin(http_lookup_t *l, http_site_t *site, const char *path, size_t len, bool target) {
  char decoded[PATH_MAX];
  memset(l, 0, offsetof(http_lookup_t, path));
  l->site = site;
  l->file.fd = l->coded.fd = l->reading = -1;
  l->path[0] = 0;
  int n = target && !cut_target(&path, &len) ? -1 : decode(path, len, target, decoded);
  if (n < 0) {
    l->found = HTTP_FOUND_BAD;
  } else if (n >= PATH_MAX) {
    l->found = HTTP_FOUND_NOTHING;
    l->error = UV_ENAMETOOLONG;
  } else {
    l->found = cut_names(l, decoded, (size_t)n);
  }
}

/* What it means ------------------------------------------------------------------------------------------------------- */

static bool is_regular(const http_inode_t *inode) { return S_ISREG(inode->st.stx_mode); }
static bool is_folder(const http_inode_t *inode) { return S_ISDIR(inode->st.stx_mode); }

static void forget(http_inode_t *inode) {
  if (inode->fd >= 0) close(inode->fd);
  inode->fd = -1;
}

/* Looks at l->path; `inode` is closed where it fails. 0 or a negative UV_E*. */
static int look_at(http_lookup_t *l, http_inode_t *inode, bool now) {
  unsigned how = (now ? BENEATH_CACHED : 0) | (l->root->memory ? BENEATH_MEMORY : 0) |
                 (l->site->links ? BENEATH_LINKS : 0);
  inode->fd = beneath_find(l->root->fd, l->path, how);
  if (inode->fd < 0) return inode->fd;
  int rc = beneath_stat(inode->fd, &inode->st);
  if (rc < 0) forget(inode);
  return rc;
}

/* The same with something behind the path, which stays there when it is found. */
static int look_behind(http_lookup_t *l, const char *suffix, http_inode_t *inode, bool now) {
  size_t n = strlen(suffix), before = l->len;
  if (n >= HTTP_LOOKUP_SUFFIX) return UV_ENAMETOOLONG;
  memcpy(l->path + l->len, suffix, n + 1);
  l->len += n;
  int rc = look_at(l, inode, now);
  if (rc == 0 && is_regular(inode)) return 0;
  if (rc == 0) forget(inode);
  l->len = before;
  l->path[before] = 0;
  return rc < 0 ? rc : UV_ENOENT;
}

static http_found_t failed(http_lookup_t *l, int error) {
  l->error = error;
  switch (error) {
  case UV_EAGAIN: return HTTP_FOUND_LATER;
  case UV_ENOENT:
  case UV_ENOTDIR:
  case UV_ENAMETOOLONG:
  case UV_ELOOP:
  case UV_EXDEV:
  case UV_EISDIR: return HTTP_FOUND_NOTHING;
  case UV_EACCES:
  case UV_EPERM: return HTTP_FOUND_DENIED;
  default: return HTTP_FOUND_FAILED;
  }
}

/* `/about` is about.html. */
static http_found_t find_extension(http_lookup_t *l, int error, bool now) {
  bool may = l->site->pages && !l->slash && (error == UV_ENOENT || error == UV_ENOTDIR);
  for (char **each = l->site->extensions; may && *each != NULL; each++) {
    char suffix[HTTP_LOOKUP_SUFFIX];
    size_t n = strlen(*each);
    if (n + 2 > sizeof suffix) continue;
    suffix[0] = '.';
    memcpy(suffix + 1, *each, n + 1);
    int rc = look_behind(l, suffix, &l->file, now);
    if (rc == 0) return HTTP_FOUND_FILE;
    if (rc == UV_EAGAIN) return failed(l, rc);
  }
  return failed(l, error);
}

/* A folder's page; its slash and the page's name go behind the path. */
static http_found_t find_index(http_lookup_t *l, bool now) {
  size_t before = l->len;
  char first = l->path[0];
  http_inode_t page;
  bool root = before == 1 && (first == '.' || first == '/');
  for (char **each = l->site->index; *each != NULL; each++) {
    if (root) l->len = first == '/'; /* "index.html", not "./index.html" */
    else l->path[l->len++] = '/';
    int rc = look_behind(l, *each, &page, now);
    if (rc == 0) {
      forget(&l->file);
      l->file = page;
      return HTTP_FOUND_FILE;
    }
    l->len = before;
    l->path[0] = first;
    l->path[before] = 0;
    if (rc != UV_ENOENT && rc != UV_ENOTDIR) return failed(l, rc);
  }
  return l->site->listing ? HTTP_FOUND_LISTING : failed(l, UV_ENOENT);
}

static http_found_t find_file(http_lookup_t *l, bool now) {
  int rc = look_at(l, &l->file, now);
  if (rc < 0) return find_extension(l, rc, now);
  if (is_regular(&l->file)) return l->slash ? failed(l, UV_ENOTDIR) : HTTP_FOUND_FILE;
  if (!is_folder(&l->file)) return failed(l, UV_ENOENT);
  if (!l->site->pages) return failed(l, UV_EISDIR);
  return l->slash ? find_index(l, now) : HTTP_FOUND_FOLDER;
}

/* Codings -------------------------------------------------------------------------------------------------------------- */

static bool is_older(const struct statx *a, const struct statx *b) {
  if (a->stx_mtime.tv_sec != b->stx_mtime.tv_sec) return a->stx_mtime.tv_sec < b->stx_mtime.tv_sec;
  return a->stx_mtime.tv_nsec < b->stx_mtime.tv_nsec;
}

/* The file beside the file, if it is there and not stale: 1, 0 or UV_EAGAIN. */
static int look_beside(http_lookup_t *l, const char *suffix, http_inode_t *inode, bool now) {
  size_t before = l->len;
  int rc = look_behind(l, suffix, inode, now);
  l->len = before;
  l->path[before] = 0;
  if (rc < 0) return rc == UV_EAGAIN ? rc : 0;
  if (!is_older(&inode->st, &l->file.st)) return 1;
  forget(inode);
  return 0;
}

static bool ends_in(const http_lookup_t *l, const char *suffix) {
  size_t n = strlen(suffix);
  return l->len > n && memcmp(l->path + l->len - n, suffix, n) == 0;
}

/* 0 or UV_EAGAIN. */
static int find_coding(http_lookup_t *l, http_weights_t likes, bool now) {
  if (ends_in(l, ".gz") || ends_in(l, ".br")) return 0;
  const struct {
    const char *suffix, *name;
    int weight;
  } codings[] = {{".br", "br", likes.br}, {".gz", "gzip", likes.gzip}};
  int best = likes.identity > 0 ? likes.identity - 1 : 0;
  for (int i = 0; i < 2; i++) {
    http_inode_t inode;
    int rc = look_beside(l, codings[i].suffix, &inode, now);
    if (rc < 0) return rc;
    if (rc == 0) continue;
    l->varies = true;
    if (codings[i].weight <= best) {
      forget(&inode);
      continue;
    }
    best = codings[i].weight;
    forget(&l->coded);
    l->coded = inode;
    l->coding = codings[i].name;
  }
  return 0;
}

void http_lookup_find(http_lookup_t *l, http_weights_t likes, bool now) {
  http_lookup_close(l); /* of an attempt that had to be given up */
  l->len = l->asked;
  l->path[0] = l->first;
  l->path[l->len] = 0;
  l->error = 0;
  l->coding = NULL;
  l->varies = false;
  l->found = find_file(l, now);
  if (l->found == HTTP_FOUND_FILE && l->site->precompressed && find_coding(l, likes, now) < 0)
    l->found = failed(l, UV_EAGAIN);
}

bool http_inode_is_local(const http_inode_t *inode) {
  return (inode->st.stx_mask & STATX_MNT_ID) && mounts_find(inode->st.stx_mnt_id)->kind != MOUNT_FOREIGN;
}

int http_lookup_open(http_lookup_t *l, bool now) {
  const http_inode_t *inode = http_lookup_sent(l);
  if (now && !http_inode_is_local(inode)) return UV_EAGAIN;
  /* Without O_NONBLOCK it may wait for another process to give a lease up. */
  int fd = beneath_open(inode->fd, O_RDONLY | O_NOCTTY | (now ? O_NONBLOCK : 0));
  if (fd < 0) return fd;
  l->reading = fd;
  return 0;
}

void http_lookup_close(http_lookup_t *l) {
  if (l->lent) l->file.fd = l->reading = -1;
  l->lent = false;
  forget(&l->file);
  forget(&l->coded);
  if (l->reading >= 0) close(l->reading);
  l->reading = -1;
}
