/* http/held.c: see http/held.h. */
#include "http/held.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

enum {
  QUIET = 20
}; /* ms that a folder's times must lie behind us: a change in the same tick of the clock would not show */

static size_t place_of(const char *path, size_t len) {
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < len; i++) hash = (hash ^ (unsigned char)path[i]) * 16777619u;
  return (hash ^ hash >> 16) % HTTP_HELD;
}

static void identify(const struct statx *st, uint64_t dev_ino[2]) {
  dev_ino[0] = makedev(st->stx_dev_major, st->stx_dev_minor);
  dev_ino[1] = st->stx_ino;
}

static bool ask(int root, const char *path, struct statx *st) {
  return statx(root, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC,
               STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID, st) == 0;
}

static bool ask_folder(const http_lookup_t *l, http_folder_state_t *state) {
  char path[PATH_MAX];
  size_t n = l->len;
  while (n > 0 && l->path[n - 1] != '/') n--;
  if (n > 1) n--;
  memcpy(path, n > 0 ? l->path : ".", n > 0 ? n : 1);
  path[n > 0 ? n : 1] = 0;
  struct statx st;
  if (!ask(l->root->fd, path, &st)) return false;
  memset(state, 0, sizeof *state);
  identify(&st, state->dev_ino);
  state->modified = st.stx_mtime;
  state->changed = st.stx_ctime;
  return true;
}

static bool same_time(struct statx_timestamp a, struct statx_timestamp b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same_folder(const http_folder_state_t *a, const http_folder_state_t *b) {
  return memcmp(a->dev_ino, b->dev_ino, sizeof a->dev_ino) == 0 && same_time(a->modified, b->modified) &&
         same_time(a->changed, b->changed);
}

static bool is_quiet(const http_folder_state_t *state) {
  struct timespec wall;
  clock_gettime(CLOCK_REALTIME, &wall);
  int64_t now = wall.tv_sec * 1000 + wall.tv_nsec / 1000000;
  int64_t then = state->changed.tv_sec * 1000 + state->changed.tv_nsec / 1000000;
  return then + QUIET < now;
}

static void drop(http_held_t *held) {
  if (held->path == NULL) return;
  free(held->path);
  held->path = NULL;
  close(held->found);
  if (held->reading >= 0) close(held->reading);
}

void http_held_drop(http_site_t *site) {
  if (site->held == NULL) return;
  for (size_t i = 0; i < HTTP_HELD; i++) drop(&site->held[i]);
  free(site->held);
  site->held = NULL;
}

bool http_held_find(http_lookup_t *l) {
  if (l->site->held == NULL) return false;
  http_held_t *held = &l->site->held[place_of(l->path, l->len)];
  if (held->path == NULL || strcmp(held->path, l->path) != 0 || l->slash) return false;
  uint64_t dev_ino[2];
  http_folder_state_t folder;
  bool same = ask(l->root->fd, l->path, &l->file.st);
  if (same) {
    identify(&l->file.st, dev_ino);
    same = memcmp(dev_ino, held->dev_ino, sizeof dev_ino) == 0;
  }
  if (same && l->site->precompressed) same = ask_folder(l, &folder) && same_folder(&folder, &held->folder);
  if (!same) {
    drop(held);
    return false;
  }
  l->found = HTTP_FOUND_FILE;
  l->lent = true;
  l->file.fd = held->found;
  l->reading = held->reading;
  return true;
}

/* The file was opened anew for one that was found before. */
static void keep_open(http_lookup_t *l) {
  http_held_t *held = &l->site->held[place_of(l->path, l->len)];
  if (held->reading < 0) held->reading = l->reading;
}

void http_held_keep(http_lookup_t *l) {
  if (l->lent) {
    keep_open(l);
    return;
  }
  if (l->found != HTTP_FOUND_FILE || l->varies || l->len != l->asked || l->file.fd < 0) return;
  http_held_t made = {.found = l->file.fd, .reading = l->reading};
  identify(&l->file.st, made.dev_ino);
  if (!http_inode_is_local(&l->file)) return;
  if (l->site->precompressed && !(ask_folder(l, &made.folder) && is_quiet(&made.folder))) return;
  if (l->site->held == NULL) l->site->held = calloc(HTTP_HELD, sizeof *l->site->held);
  made.path = l->site->held != NULL ? strdup(l->path) : NULL;
  if (made.path == NULL) return;
  http_held_t *held = &l->site->held[place_of(l->path, l->len)];
  drop(held);
  *held = made;
  l->file.fd = l->reading = -1;
}
