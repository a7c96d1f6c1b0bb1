/* files/list.c: what is in a directory, sorted: blocking and on the pool. The kernel cannot be asked for it without waiting,
 * but it can for what the directory is at this moment: its `key`, which changes with every name that comes or goes. fs keeps
 * what a directory held beside its key.
 *
 * A time has a grain: what changes within one grain of the change before has the same time. So a key is given only to what
 * was read a while after the directory's last change. */
#include "files/attempt.h"
#include "files/files.h"
#include "files/path.h"
#include "files/work.h"
#include "host/errors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { ENTRIES_SIZE = 32 * 1024, FINE_GRAIN = 50000000, COARSE_GRAIN = 3000000 /* of microseconds */ };

typedef struct {
  const char *name;
  unsigned char type;
} entry_t;

/* What was read; list_free frees it. */
typedef struct {
  int rc; /* 0, or the failure */
  char *bytes;
  size_t length, size;
  entry_t *entries;
  size_t count;
  bool
      settled; /* `stat` is what it was before the reading began, and no other change can have the same times */
  struct statx stat;
} list_t;

static void list_free(list_t *list) {
  free(list->bytes);
  free(list->entries);
}

static int read_entries(list_t *list, int fd) {
  for (;;) {
    if (list->size - list->length < ENTRIES_SIZE) {
      size_t size = list->size ? list->size * 2 : (size_t)ENTRIES_SIZE;
      char *bytes = realloc(list->bytes, size);
      if (!bytes) return -ENOMEM;
      list->bytes = bytes;
      list->size = size;
    }
    long rc = syscall(SYS_getdents64, fd, list->bytes + list->length, list->size - list->length);
    if (rc < 0) return -errno;
    if (rc == 0) return 0;
    list->length += (size_t)rc;
  }
}

static bool is_dot(const char *name) { return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2])); }

static int compare_entries(const void *one, const void *other) {
  return strcmp(((const entry_t *)one)->name, ((const entry_t *)other)->name);
}

static int sort_entries(list_t *list) {
  size_t count = 0, at = 0;
  for (at = 0; at < list->length; at += ((struct dirent64 *)(list->bytes + at))->d_reclen) count++;
  if (count == 0) return 0;
  list->entries = malloc(count * sizeof *list->entries);
  if (!list->entries) return -ENOMEM;
  for (at = 0; at < list->length; at += ((struct dirent64 *)(list->bytes + at))->d_reclen) {
    const struct dirent64 *entry = (struct dirent64 *)(list->bytes + at);
    if (!is_dot(entry->d_name)) list->entries[list->count++] = (entry_t){entry->d_name, entry->d_type};
  }
  qsort(list->entries, list->count, sizeof *list->entries, compare_entries);
  return 0;
}

static int64_t nanoseconds(int64_t seconds, int64_t rest) { return seconds * 1000000000 + rest; }

/* File systems that count whole seconds, or two of them, show no fraction. */
static bool is_older(const struct statx_timestamp *time, int64_t than) {
  int64_t grain = time->tv_nsec % 1000 ? FINE_GRAIN : (int64_t)COARSE_GRAIN * 1000;
  return nanoseconds(time->tv_sec, time->tv_nsec) < than - grain;
}

static void list_read(list_t *list, const char *path) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    list->rc = -errno;
    return;
  }
  list->rc = read_entries(list, fd);
  if (list->rc == 0) list->rc = sort_entries(list);
  int64_t began = nanoseconds(now.tv_sec, now.tv_nsec);
  list->settled =
      statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS | STATX_MNT_ID, &list->stat) == 0 &&
      (list->stat.stx_mask & STATX_MNT_ID) && is_older(&list->stat.stx_mtime, began) &&
      is_older(&list->stat.stx_ctime, began);
  close(fd);
}

static const char *type_name(unsigned char type) {
  switch (type) {
  case DT_REG: return "file";
  case DT_DIR: return "directory";
  case DT_LNK: return "link";
  case DT_FIFO: return "fifo";
  case DT_SOCK: return "socket";
  case DT_CHR: return "char";
  case DT_BLK: return "block";
  default: return "unknown";
  }
}

static void push_key(lua_State *L, const struct statx *stat) {
  uint64_t key[] = {stat->stx_mnt_id, stat->stx_ino,
                    (uint64_t)stat->stx_dev_major << 32 | stat->stx_dev_minor,
                    (uint64_t)nanoseconds(stat->stx_mtime.tv_sec, stat->stx_mtime.tv_nsec),
                    (uint64_t)nanoseconds(stat->stx_ctime.tv_sec, stat->stx_ctime.tv_nsec)};
  lua_pushlstring(L, (const char *)key, sizeof key);
}

/* names, and their types in the words of luv */
static int push_list(lua_State *L, const list_t *list) {
  if (list->rc < 0) return errors_code(L, list->rc);
  lua_createtable(L, (int)list->count, 0);
  lua_createtable(L, (int)list->count, 0);
  for (size_t i = 0; i < list->count; i++) {
    lua_pushstring(L, list->entries[i].name);
    lua_rawseti(L, -3, (int)i + 1);
    lua_pushstring(L, type_name(list->entries[i].type));
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 2;
}

/* list(path) → names, types; or nil and the code's name. Blocks. */
static int l_list(lua_State *L) {
  list_t list = {0};
  list_read(&list, files_path(L, 1));
  int results = push_list(L, &list);
  list_free(&list);
  return results;
}

typedef struct {
  work_t work;
  list_t list;
  char path[];
} list_work_t;

static void run_list(work_t *work) {
  list_work_t *job = (list_work_t *)work;
  list_read(&job->list, job->path);
}

static int push_work(work_t *work, lua_State *co) {
  list_t *list = &((list_work_t *)work)->list;
  int results = push_list(co, list);
  if (list->rc < 0 || !list->settled || mounts_find(list->stat.stx_mnt_id)->kind == MOUNT_FOREIGN)
    return results;
  push_key(co, &list->stat);
  return results + 1;
}

static void free_list(work_t *work) {
  list_free(&((list_work_t *)work)->list);
  free(work);
}

/* poolList(path, callback): the same later, with the key where there is one to keep it by */
static int l_pool_list(lua_State *L) {
  const char *path = files_path(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  size_t size = strlen(path) + 1;
  list_work_t *job = calloc(1, sizeof *job + size);
  if (!job) return luaL_error(L, "not enough memory");
  job->work = (work_t){.run = run_list, .push = push_work, .free = free_list};
  memcpy(job->path, path, size);
  work_start(L, &job->work, 2);
  return 0;
}

/* tryKey(path) → the key of a directory that may be read, or as attempts return */
static int l_try_key(lua_State *L) {
  attempt_t found;
  int rc = attempt_find(files_path(L, 1), 0, &found);
  if (rc != 0) return files_unanswered(L, rc);
  /* Whether this process may read it still, by the ids that open(2) goes by. */
  rc = S_ISDIR(found.stat.stx_mode) ? attempt_access(&found, R_OK, AT_EACCESS) : -ENOTDIR;
  attempt_end(&found);
  if (rc != 0) return files_unanswered(L, rc);
  push_key(L, &found.stat);
  return 1;
}

void files_list_register(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"list", l_list}, {"poolList", l_pool_list}, {"tryKey", l_try_key}, {NULL, NULL}};
  luaL_register(L, NULL, functions);
}
