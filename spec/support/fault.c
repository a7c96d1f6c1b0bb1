/* fault.c: a library to preload (see spec/support/faults.lua) that has system calls fail.
 * LRUN_FAULTS="NAME ERRNO FROM COUNT;…": the calls of NAME from the FROM-th on, COUNT of them, fail with ERRNO. Counted
 * for each process anew. NAME is one of the functions below, or the number of a call made through syscall(). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { MAX_NAME = 32, MAX_FAULTS = 8 };

typedef struct {
  char name[MAX_NAME];
  int error;
  long from, count, calls;
} fault_t;

static fault_t faults[MAX_FAULTS];
static int fault_count;

__attribute__((constructor)) static void read_faults(void) {
  const char *text = getenv("LRUN_FAULTS");
  while (text && fault_count < MAX_FAULTS) {
    fault_t *fault = &faults[fault_count];
    if (sscanf(text, "%31s %d %ld %ld", fault->name, &fault->error, &fault->from, &fault->count) == 4)
      fault_count++;
    text = strchr(text, ';');
    if (text) text++;
  }
}

static bool fails(const char *name) {
  for (int i = 0; i < fault_count; i++) {
    fault_t *fault = &faults[i];
    if (strcmp(fault->name, name) != 0) continue;
    long call = ++fault->calls;
    if (call < fault->from || call >= fault->from + fault->count) continue;
    errno = fault->error;
    return true;
  }
  return false;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  return fails("sendmsg") ? -1 : REAL(sendmsg)(fd, message, flags);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
  return fails("recvmsg") ? -1 : REAL(recvmsg)(fd, message, flags);
}

int memfd_create(const char *name, unsigned flags) {
  return fails("memfd_create") ? -1 : REAL(memfd_create)(name, flags);
}

/* Of shared mappings of files only. */
void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
  if (fd >= 0 && (flags & MAP_SHARED) && fails("mmap")) return MAP_FAILED;
  return REAL(mmap)(address, length, protection, flags, fd, offset);
}

long syscall(long number, ...) {
  long arguments[6];
  char name[MAX_NAME];
  va_list list;
  va_start(list, number);
  for (int i = 0; i < 6; i++) arguments[i] = va_arg(list, long);
  va_end(list);
  snprintf(name, sizeof name, "%ld", number);
  if (fails(name)) return -1;
  return REAL(syscall)(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
                       arguments[5]);
}
