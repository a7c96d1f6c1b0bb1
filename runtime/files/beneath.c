/* files/beneath.c: see files/beneath.h.
 *
 * The kernel does it in one call: openat2 with RESOLVE_BENEATH. Where that is missing or refused, which is noticed once, the
 * path is walked by hand: one openat with O_NOFOLLOW for each name, and links are read and walked in turn. A step up goes to
 * the names that were walked before, from the top, and never through the kernel's `..`: a directory that is moved meanwhile
 * leads nowhere. */
#include "files/beneath.h"
#include "files/attempt.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <uv.h>

enum {
  MAX_LINKS = 40, /* as the kernel's own limit */
  MAX_TRIES = 64  /* while directories are moved around it */
};

static atomic_bool no_openat2, no_cached;

static int kernel_open(int dir, const char *path, uint64_t resolve) {
  struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = resolve};
  long fd = syscall(SYS_openat2, dir, path, &how, sizeof how);
  return fd < 0 ? -errno : (int)fd;
}

static bool is_refused(int error) { return error == UV_ENOSYS || error == UV_EPERM || error == UV_EINVAL; }

/* By hand --------------------------------------------------------------------------------------------------- */

typedef struct {
  int root, dir;           /* `dir` is where we stand: root, or a descriptor of ours */
  int links;               /* that were followed */
  char rest[2 * PATH_MAX]; /* still to walk */
  char walked[PATH_MAX];   /* names of directories from root to dir, each with a slash behind it */
} walk_t;

static void stand_on(walk_t *w, int dir) {
  if (w->dir != w->root) close(w->dir);
  w->dir = dir;
}

static int step_into(int dir, const char *name) {
  int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

/* Takes the next name off `rest`; false when there is none. */
static bool next_name(walk_t *w, char name[NAME_MAX + 1], int *error) {
  char *from = w->rest + strspn(w->rest, "/");
  size_t len = strcspn(from, "/");
  if (len == 0) return false;
  if (len > NAME_MAX) {
    *error = UV_ENAMETOOLONG;
    return false;
  }
  memcpy(name, from, len);
  name[len] = 0;
  memmove(w->rest, from + len, strlen(from + len) + 1);
  return true;
}

/* One up: down again from the root, by one name less. */
static int step_up(walk_t *w) {
  size_t len = strlen(w->walked);
  if (len == 0) return UV_EXDEV;
  do len--;
  while (len > 0 && w->walked[len - 1] != '/');
  w->walked[len] = 0;
  stand_on(w, w->root);
  const char *from = w->walked;
  while (*from != 0) {
    char name[NAME_MAX + 1];
    size_t n = strcspn(from, "/");
    memcpy(name, from, n);
    name[n] = 0;
    from += n + 1;
    int fd = openat(w->dir, name, O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -errno;
    stand_on(w, fd);
  }
  return 0;
}

/* What the link says takes its place. */
static int follow(walk_t *w, int link) {
  char target[PATH_MAX];
  ssize_t n = readlinkat(link, "", target, sizeof target);
  if (n < 0) return -errno;
  if (++w->links > MAX_LINKS) return UV_ELOOP;
  if (n == 0) return UV_ENOENT;
  if (target[0] == '/') return UV_EXDEV;
  size_t rest = strlen(w->rest);
  if ((size_t)n + rest >= sizeof w->rest) return UV_ENAMETOOLONG;
  memmove(w->rest + n, w->rest, rest + 1); /* which begins with a slash */
  memcpy(w->rest, target, (size_t)n);
  return 0;
}

/* Goes on to `fd`, which is `name` in the directory where we stand. 1: it is what was looked for. */
static int go_on(walk_t *w, int fd, const char *name) {
  struct stat st;
  int rc = fstat(fd, &st) < 0 ? -errno : 0;
  if (rc == 0 && S_ISLNK(st.st_mode)) {
    rc = follow(w, fd);
    close(fd);
    return rc;
  }
  bool slash = w->rest[0] == '/', last = w->rest[strspn(w->rest, "/")] == 0;
  if (rc == 0 && (slash || !last) && !S_ISDIR(st.st_mode)) rc = UV_ENOTDIR;
  size_t len = strlen(w->walked), n = strlen(name);
  if (rc == 0 && len + n + 2 > sizeof w->walked) rc = UV_ENAMETOOLONG;
  if (rc < 0) {
    close(fd);
    return rc;
  }
  memcpy(w->walked + len, name, n);
  memcpy(w->walked + len + n, "/", 2);
  stand_on(w, fd);
  return last ? 1 : 0;
}

static int walk(int root, const char *path) {
  walk_t w = {.root = root, .dir = root};
  size_t len = strlen(path);
  if (len >= sizeof w.rest) return UV_ENAMETOOLONG;
  memcpy(w.rest, path, len + 1);
  char name[NAME_MAX + 1];
  int rc = 0;
  while (rc == 0 && next_name(&w, name, &rc)) {
    if (strcmp(name, ".") == 0) continue;
    if (strcmp(name, "..") == 0) {
      rc = step_up(&w);
      continue;
    }
    int fd = step_into(w.dir, name);
    rc = fd < 0 ? fd : go_on(&w, fd, name);
  }
  if (rc >= 0 && w.dir != w.root) return w.dir;
  if (rc >= 0) rc = step_into(w.root, ".");
  else stand_on(&w, w.root);
  return rc;
}

/* ---------------------------------------------------------------------------------------------------------- */

static int find_now(int dir, const char *path, unsigned how) {
  if (no_openat2 || no_cached) return UV_EAGAIN;
  uint64_t resolve = dir == AT_FDCWD || (how & BENEATH_LINKS) ? 0 : RESOLVE_BENEATH;
  int fd = kernel_open(dir, path, resolve | RESOLVE_CACHED);
  if (fd == UV_EAGAIN && (how & BENEATH_MEMORY)) fd = kernel_open(dir, path, resolve | RESOLVE_NO_XDEV);
  if (!is_refused(fd)) return fd;
  no_cached = true; /* or all of it: that shows where it may wait */
  return UV_EAGAIN;
}

int beneath_find(int dir, const char *path, unsigned how) {
  if (how & BENEATH_CACHED) return find_now(dir, path, how);
  if (dir == AT_FDCWD || (how & BENEATH_LINKS)) {
    int fd = openat(dir, path, O_PATH | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
  }
  for (int i = 0; i < MAX_TRIES && !no_openat2; i++) {
    int fd = kernel_open(dir, path, RESOLVE_BENEATH);
    if (is_refused(fd)) no_openat2 = true;
    else if (fd != UV_EAGAIN) return fd;
  }
  return walk(dir, path);
}

int beneath_open(int found, int flags) {
  char path[ATTEMPT_PROC_NAME];
  attempt_proc_name(path, found);
  int fd = open(path, flags | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

/* For a kernel or a container that refuses statx. */
static int stat_plainly(int found, struct statx *st) {
  struct stat plain;
  if (fstat(found, &plain) < 0) return -errno;
  memset(st, 0, sizeof *st);
  st->stx_dev_major = major(plain.st_dev);
  st->stx_dev_minor = minor(plain.st_dev);
  st->stx_rdev_major = major(plain.st_rdev);
  st->stx_rdev_minor = minor(plain.st_rdev);
  st->stx_ino = plain.st_ino;
  st->stx_mode = (uint16_t)plain.st_mode;
  st->stx_nlink = (uint32_t)plain.st_nlink;
  st->stx_uid = plain.st_uid;
  st->stx_gid = plain.st_gid;
  st->stx_size = (uint64_t)plain.st_size;
  st->stx_blksize = (uint32_t)plain.st_blksize;
  st->stx_blocks = (uint64_t)plain.st_blocks;
  st->stx_atime =
      (struct statx_timestamp){.tv_sec = plain.st_atim.tv_sec, .tv_nsec = (uint32_t)plain.st_atim.tv_nsec};
  st->stx_mtime =
      (struct statx_timestamp){.tv_sec = plain.st_mtim.tv_sec, .tv_nsec = (uint32_t)plain.st_mtim.tv_nsec};
  st->stx_ctime =
      (struct statx_timestamp){.tv_sec = plain.st_ctim.tv_sec, .tv_nsec = (uint32_t)plain.st_ctim.tv_nsec};
  st->stx_btime = st->stx_ctime;
  return 0;
}

int beneath_stat(int found, struct statx *st) {
  static atomic_bool no_statx;
  if (no_statx) return stat_plainly(found, st);
  unsigned want = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID;
  if (statx(found, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, want, st) == 0) return 0;
  if (!is_refused(-errno)) return -errno; /* EINVAL: libc does without it, and knows not all of it */
  no_statx = true;
  return stat_plainly(found, st);
}
