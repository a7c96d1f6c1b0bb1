/* files/mounts.h: which file systems answer from this machine's own memory and disks. */
#ifndef LRUN_FILES_MOUNTS_H
#define LRUN_FILES_MOUNTS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum {
  MOUNT_FOREIGN, /* over a wire, in user space, made up by the kernel, or not known */
  MOUNT_LOCAL,   /* on a disk of this machine */
  MOUNT_MEMORY   /* its pages are memory */
} mount_kind_t;

typedef struct {
  uint64_t id; /* as statx and /proc/self/mountinfo have it */
  mount_kind_t kind;
  bool no_nowait; /* was found not to read with RWF_NOWAIT */
} mount_t;

/* The mount with this number, never NULL; good until the next call. An unknown number has the kernel's table read anew. */
mount_t *mounts_find(uint64_t id);

/* For specs: the table is read from this file from now on, or from the kernel's again with NULL. */
void mounts_read_from(const char *path);

#endif
