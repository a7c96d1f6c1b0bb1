/* files/attempt.h: what the kernel can answer without waiting for a disk or a peer. Each step returns a result, a negative
 * errno that is final, or ATTEMPT_POOL: nobody knows but who can wait. */
#ifndef LRUN_FILES_ATTEMPT_H
#define LRUN_FILES_ATTEMPT_H

#include "files/mounts.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

enum {
  ATTEMPT_POOL = -0x10000,
  ATTEMPT_BYTES = 1024 * 1024, /* that one call may copy in one turn */
  ATTEMPT_PROC_NAME = 32
};

/* Something that a path led to, not opened: `fd` is of O_PATH, attempt_end closes it. */
typedef struct {
  int fd;
  struct statx stat;
  mount_t *mount;
} attempt_t;

/* Finds what a path leads to among names that are cached; `flags`: 0, or O_NOFOLLOW. 0: it is there, for attempt_end; its
 * file system may be any, and was not asked. */
int attempt_name(const char *path, int flags, attempt_t *found);

/* The same, with its `stat`, and only if its file system is local. */
int attempt_find(const char *path, int flags, attempt_t *found);
void attempt_end(attempt_t *found);

/* `stat` and `mount` of an open file; only if its file system is local. */
int attempt_look(int fd, struct statx *stat, mount_t **mount);

/* Whether what was found may be used so (R_OK, …): 0 or the failure. `flags`: 0, or AT_EACCESS. */
int attempt_access(const attempt_t *found, int mode, int flags);

/* Opens for reading what was found, if it is a file or a directory: the very inode, whatever its name leads to by now.
 * The descriptor is close-on-exec and O_NONBLOCK. */
int attempt_open(const attempt_t *found, int flags);

/* Whether /proc is what it should be; without it nothing is opened. */
bool attempt_has_proc(void);

/* By what name it has a descriptor: `name` has ATTEMPT_PROC_NAME bytes. */
void attempt_proc_name(char *name, int fd);

/* Reads what is cached, from `position` or where the descriptor stands (-1). `*partly`: there is more before the end of the
 * file, or may be. */
ssize_t attempt_read(int fd, mount_t *mount, char *bytes, size_t size, off_t position, bool *partly);

/* The calls that the kernel, or whoever confines this process, has refused: they are not tried again. */
typedef struct {
  bool openat2, statx, preadv2, faccessat2, proc;
} attempt_refusals_t;
extern attempt_refusals_t attempt_refused;

#endif
