/* files/attempt.c: see files/attempt.h. A name is resolved with RESOLVE_CACHED to a descriptor of O_PATH, which opens
 * nothing: no named pipe's writer wakes, no device acts. Then it is known what the thing is and where it lies, and only a
 * file or a directory on a local file system is opened, by /proc/self/fd, with O_NONBLOCK for the sake of leases. */
#include "files/attempt.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

attempt_refusals_t attempt_refused;

/* Whether a call is not there, or may not be made, whatever it is given. */
static bool is_refusal(int code) { return code == ENOSYS || code == EPERM || code == EINVAL; }

/* What a walk through cached names proves. */
static bool is_final(int code) {
  return code == ENOENT || code == ENOTDIR || code == ELOOP || code == ENAMETOOLONG || code == EACCES;
}

int attempt_name(const char *path, int flags, attempt_t *found) {
  if (attempt_refused.openat2) return ATTEMPT_POOL;
  struct open_how how = {.flags = (unsigned)(O_PATH | O_CLOEXEC | flags), .resolve = RESOLVE_CACHED};
  found->fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
  if (found->fd >= 0) return 0;
  if (is_refusal(errno)) attempt_refused.openat2 = true;
  return is_final(errno) ? -errno : ATTEMPT_POOL;
}

int attempt_look(int fd, struct statx *stat, mount_t **mount) {
  if (attempt_refused.statx) return ATTEMPT_POOL;
  unsigned mask = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID;
  if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, mask, stat) < 0) {
    if (is_refusal(errno)) attempt_refused.statx = true;
    return errno == EBADF ? -EBADF : ATTEMPT_POOL;
  }
  if ((stat->stx_mask & (STATX_BASIC_STATS | STATX_MNT_ID)) != (STATX_BASIC_STATS | STATX_MNT_ID))
    return ATTEMPT_POOL;
  *mount = mounts_find(stat->stx_mnt_id);
  return (*mount)->kind == MOUNT_FOREIGN ? ATTEMPT_POOL : 0;
}

int attempt_find(const char *path, int flags, attempt_t *found) {
  int rc = attempt_name(path, flags, found);
  if (rc != 0) return rc;
  rc = attempt_look(found->fd, &found->stat, &found->mount);
  if (rc == 0) return 0;
  attempt_end(found);
  return ATTEMPT_POOL;
}

void attempt_end(attempt_t *found) {
  close(found->fd);
  found->fd = -1;
}

static int check_access(int fd, int mode, int flags) {
  return syscall(SYS_faccessat2, fd, "", mode, AT_EMPTY_PATH | flags) < 0 ? -errno : 0;
}

/* EPERM may be of the file, which may not be changed: a call that is refused fails for F_OK, too. */
int attempt_access(const attempt_t *found, int mode, int flags) {
  if (attempt_refused.faccessat2) return ATTEMPT_POOL;
  int rc = check_access(found->fd, mode, flags);
  if (rc == 0 || rc == -EACCES || rc == -EROFS) return rc;
  if (is_refusal(-rc) && check_access(found->fd, F_OK, flags) < 0) attempt_refused.faccessat2 = true;
  return ATTEMPT_POOL;
}

bool attempt_has_proc(void) {
  static bool known;
  struct statfs fs;
  if (known || attempt_refused.proc) return known;
  known = statfs("/proc/self/fd", &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
  attempt_refused.proc = !known;
  return known;
}

/* By hand: printf would cost a tenth of what the open does. */
void attempt_proc_name(char *name, int fd) {
  static const char folder[] = "/proc/self/fd/";
  char digits[12], *to = name + sizeof folder - 1;
  int count = 0;
  memcpy(name, folder, sizeof folder - 1);
  do digits[count++] = (char)('0' + fd % 10);
  while ((fd /= 10) > 0);
  while (count > 0) *to++ = digits[--count];
  *to = '\0';
}

int attempt_open(const attempt_t *found, int flags) {
  if (!S_ISREG(found->stat.stx_mode) && !S_ISDIR(found->stat.stx_mode)) return ATTEMPT_POOL;
  if (!attempt_has_proc()) return ATTEMPT_POOL;
  char path[ATTEMPT_PROC_NAME];
  attempt_proc_name(path, found->fd);
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | flags);
  return fd < 0 ? ATTEMPT_POOL : fd;
}

static ssize_t read_once(int fd, mount_t *mount, char *bytes, size_t size, off_t position) {
  struct iovec vec = {.iov_base = bytes, .iov_len = size};
  if (mount->kind == MOUNT_MEMORY) {
    ssize_t rc = position < 0 ? read(fd, bytes, size) : pread(fd, bytes, size, position);
    return rc < 0 ? -errno : rc;
  }
  ssize_t rc = preadv2(fd, &vec, 1, position, RWF_NOWAIT);
  if (rc >= 0) return rc;
  if (errno == EOPNOTSUPP) mount->no_nowait = true;
  if (errno == ENOSYS || errno == EPERM) attempt_refused.preadv2 = true;
  return errno == EBADF ? -EBADF : ATTEMPT_POOL;
}

ssize_t attempt_read(int fd, mount_t *mount, char *bytes, size_t size, off_t position, bool *partly) {
  *partly = false;
  if (mount->kind != MOUNT_MEMORY && (mount->no_nowait || attempt_refused.preadv2)) return ATTEMPT_POOL;
  size_t done = 0;
  while (done < size) {
    ssize_t rc = read_once(fd, mount, bytes + done, size - done, position < 0 ? -1 : position + (off_t)done);
    if (rc == 0) return (ssize_t)done;
    if (rc < 0 && done == 0) return rc;
    *partly = rc < 0;
    if (rc < 0) break;
    done += (size_t)rc;
  }
  return (ssize_t)done;
}
