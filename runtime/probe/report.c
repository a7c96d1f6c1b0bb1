/* probe/report.c: owns the text of a report while a signal handler writes it, and the choice of the folder. */
#include "probe/report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *runtime_folder; /* $XDG_RUNTIME_DIR as the process got it */

void report_keep_environment(void) { runtime_folder = getenv("XDG_RUNTIME_DIR"); }

void report_bytes(report_t *report, const char *bytes, size_t length) {
  if (report->full || length > REPORT_SIZE - report->length) {
    report->full = true;
    return;
  }
  memcpy(report->text + report->length, bytes, length);
  report->length += length;
}

void report_text(report_t *report, const char *text) { report_bytes(report, text, strlen(text)); }

enum { DIGITS = 20 }; /* of 2^64 */

static size_t put_digits(char *out, uint64_t number) {
  char digits[DIGITS];
  size_t count = 0, at = 0;
  do digits[count++] = (char)('0' + number % 10);
  while (number /= 10);
  while (count > 0) out[at++] = digits[--count];
  return at;
}

void report_number(report_t *report, uint64_t number) {
  char digits[DIGITS];
  report_bytes(report, digits, put_digits(digits, number));
}

/* What it is about: the time (CLOCK_MONOTONIC, ns) tells a reader which question it answers. */
void report_begin(report_t *report) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  report->length = 0;
  report->full = false;
  report_text(report, "time ");
  report_number(report, (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
  report_text(report, "\n");
}

/* The folder ---------------------------------------------------------------------------------------------------- */

static char folder[REPORT_PATH];

static size_t append(char *out, size_t at, const char *text) {
  size_t length = strlen(text);
  if (at + length >= REPORT_PATH) return REPORT_PATH;
  memcpy(out + at, text, length + 1);
  return at + length;
}

static bool is_ours(const char *path) {
  struct stat found;
  return lstat(path, &found) == 0 && S_ISDIR(found.st_mode) && found.st_uid == geteuid();
}

/* Whether it is there now, a folder that only this user may enter. */
static bool make(const char *path) {
  if (mkdir(path, 0700) != 0 && errno != EEXIST) return false;
  return is_ours(path) && chmod(path, 0700) == 0;
}

enum { LONGEST_NAME = 32 }; /* of what is in the folder: a process id and a suffix */

const char *report_folder(void) {
  if (runtime_folder && runtime_folder[0] == '/' && is_ours(runtime_folder)) {
    size_t at = append(folder, 0, runtime_folder);
    if (at < REPORT_PATH) at = append(folder, at, "/lrun");
    if (at + LONGEST_NAME < REPORT_PATH && make(folder)) return folder;
  }
  char digits[DIGITS + 1];
  digits[put_digits(digits, geteuid())] = '\0';
  append(folder, append(folder, 0, "/tmp/lrun-"), digits);
  return make(folder) ? folder : NULL;
}

static void path_in_folder(char *path, const char *in, const char *prefix, const char *suffix) {
  char digits[DIGITS + 1];
  digits[put_digits(digits, (uint64_t)getpid())] = '\0';
  size_t at = append(path, append(path, append(path, 0, in), "/"), prefix);
  append(path, append(path, at, digits), suffix);
}

static bool write_whole(int fd, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t n = write(fd, bytes, length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes += n, length -= (size_t)n;
  }
  return true;
}

void report_save(const report_t *report) {
  const char *in = report_folder();
  if (!in) return;
  char temporary[REPORT_PATH], path[REPORT_PATH];
  path_in_folder(temporary, in, ".", ".report");
  path_in_folder(path, in, "", ".report");
  unlink(temporary);
  int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return;
  bool whole = write_whole(fd, report->text, report->length);
  close(fd);
  if (!whole || rename(temporary, path) != 0) unlink(temporary);
}
