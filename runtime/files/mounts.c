/* files/mounts.c: owns the table of mounts, as /proc/self/mountinfo has it. A file is told by the mount that it is on:
 * statx gives the number also where device numbers say nothing (subvolumes, the layers of a container's root).
 *
 * Numbers are given anew when something is unmounted, so the table is read again once it is a second old; reading it may
 * take a thousandth of the time. Between the two a file may be taken for local that no more is: that costs a wait, and
 * changes no result. */
#include "files/mounts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

enum { UNKNOWN_MAX = 64, LIFE = 1000000000, SHARE = 1000 };

static struct {
  mount_t *list; /* in the order of their numbers, as far as `count` */
  size_t count, size;
  mount_t unknown[UNKNOWN_MAX]; /* numbers that the table does not have, since it was read */
  size_t unknowns;
  uint64_t read_at, life; /* nanoseconds */
  const char *path;
} mounts = {.path = "/proc/self/mountinfo"};

/* Nanoseconds, to a few milliseconds: it is asked for with every file. */
static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static const char *const local_types[] = {"ext2", "ext3",    "ext4",  "xfs",  "btrfs", "f2fs",     "bcachefs",
                                          "jfs",  "overlay", "erofs", "vfat", "exfat", "squashfs", "iso9660"};
static const char *const memory_types[] = {"tmpfs", "devtmpfs", "ramfs", "rootfs"};

static bool is_among(const char *type, const char *const *types, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(type, types[i]) == 0) return true;
  return false;
}

#define AMONG(type, types) is_among(type, types, sizeof(types) / sizeof *(types))

static mount_kind_t kind_of(const char *type) {
  if (AMONG(type, local_types)) return MOUNT_LOCAL;
  return AMONG(type, memory_types) ? MOUNT_MEMORY : MOUNT_FOREIGN;
}

/* `36 35 98:0 / /mnt rw,noatime master:1 - ext4 /dev/root rw`: spaces within a field are written otherwise. */
static void add_line(char *line) {
  char *end, *type = strstr(line, " - ");
  unsigned long long id = strtoull(line, &end, 10);
  if (!type || end == line) return;
  type += 3;
  type[strcspn(type, " \n")] = '\0';
  if (mounts.count == mounts.size) {
    size_t size = mounts.size ? mounts.size * 2 : 32;
    mount_t *list = realloc(mounts.list, size * sizeof *list);
    if (!list) return;
    mounts.list = list;
    mounts.size = size;
  }
  mounts.list[mounts.count++] = (mount_t){.id = id, .kind = kind_of(type)};
}

static int compare(const void *one, const void *other) {
  uint64_t a = ((const mount_t *)one)->id, b = ((const mount_t *)other)->id;
  return a < b ? -1 : a > b;
}

static mount_t *look_up(mount_t *list, size_t count, uint64_t id) {
  mount_t key = {.id = id};
  return count ? bsearch(&key, list, count, sizeof key, compare) : NULL;
}

/* What was found out of a mount holds on while its number and kind are the same. */
static void keep_findings(mount_t *old, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (!old[i].no_nowait) continue;
    mount_t *mount = look_up(mounts.list, mounts.count, old[i].id);
    if (mount && mount->kind == old[i].kind) mount->no_nowait = true;
  }
}

static void read_table(void) {
  uint64_t began = uv_hrtime();
  mount_t *old = mounts.list;
  size_t count = mounts.count;
  mounts.list = NULL;
  mounts.count = mounts.size = mounts.unknowns = 0;
  FILE *file = fopen(mounts.path, "re");
  if (file) {
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, file) >= 0) add_line(line);
    free(line);
    fclose(file);
  }
  if (mounts.count) qsort(mounts.list, mounts.count, sizeof *mounts.list, compare);
  keep_findings(old, count);
  free(old);
  mounts.read_at = now();
  mounts.life = LIFE + (uv_hrtime() - began) * SHARE;
}

/* It stays unknown until the table is read again. */
static mount_t *note_unknown(uint64_t id) {
  static mount_t none;
  if (mounts.unknowns == UNKNOWN_MAX) return none = (mount_t){.id = id}, &none;
  mount_t *mount = &mounts.unknown[mounts.unknowns++];
  *mount = (mount_t){.id = id};
  return mount;
}

/* Reads the table for the sake of a number that it does not have; what else it did not have it still may not. */
static void read_again(void) {
  size_t unknowns = mounts.unknowns;
  mount_t kept[UNKNOWN_MAX];
  memcpy(kept, mounts.unknown, sizeof kept);
  read_table();
  for (size_t i = 0; i < unknowns; i++)
    if (!look_up(mounts.list, mounts.count, kept[i].id)) mounts.unknown[mounts.unknowns++] = kept[i];
}

mount_t *mounts_find(uint64_t id) {
  bool fresh = mounts.read_at == 0 || now() - mounts.read_at > mounts.life;
  if (fresh) read_table();
  mount_t *mount = look_up(mounts.list, mounts.count, id);
  if (mount) return mount;
  for (size_t i = 0; i < mounts.unknowns; i++)
    if (mounts.unknown[i].id == id) return &mounts.unknown[i];
  if (!fresh && mounts.unknowns < UNKNOWN_MAX) {
    read_again();
    mount = look_up(mounts.list, mounts.count, id);
    if (mount) return mount;
  }
  return note_unknown(id);
}

void mounts_read_from(const char *path) {
  static char *own;
  free(own);
  own = path ? strdup(path) : NULL;
  mounts.path = own ? own : "/proc/self/mountinfo";
  mounts.read_at = 0;
}
