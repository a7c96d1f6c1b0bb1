/* files/beneath.h: finds what a path means below a directory that is held open, and never anything outside of it. */
#ifndef LRUN_FILES_BENEATH_H
#define LRUN_FILES_BENEATH_H

#include <sys/stat.h>

enum {
  BENEATH_CACHED = 1, /* only with names that the kernel has in memory, else UV_EAGAIN: the loop may ask so */
  BENEATH_MEMORY = 2, /* the directory is of a file system in memory, which waits for nothing */
  BENEATH_LINKS = 4   /* symbolic links may lead out */
};

/* A descriptor (O_PATH) of what `path` names below `dir`, or a negative UV_E*: UV_EXDEV when that lies outside, UV_EAGAIN
 * as above. `path` is relative, without `..`; "." is the directory. With a `dir` of AT_FDCWD it may be absolute, and
 * nothing is outside. May be called on any thread. */
int beneath_find(int dir, const char *path, unsigned how);

/* Opens what such a descriptor stands for with the flags of open(2): the very inode that was looked at, whatever its name
 * means by now. A descriptor or a negative UV_E*. */
int beneath_open(int found, int flags);

/* What it stands for, without asking anybody over a wire. 0 or a negative UV_E*. */
int beneath_stat(int found, struct statx *st);

#endif
