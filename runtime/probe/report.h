/* probe/report.h: a report of some lines that a signal handler writes into the user's own folder. All of it may be called
 * from one: it allocates nothing, takes no lock, and calls only what POSIX allows there. */
#ifndef LRUN_PROBE_REPORT_H
#define LRUN_PROBE_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REPORT_SIZE = 32 * 1024, REPORT_PATH = 108 /* a unix socket's address has as much */ };

typedef struct {
  size_t length;
  bool full; /* what came later is left out */
  char text[REPORT_SIZE];
} report_t;

void report_begin(report_t *report);
void report_text(report_t *report, const char *text);
void report_bytes(report_t *report, const char *bytes, size_t length);
void report_number(report_t *report, uint64_t number);

/* Writes it as `PID.report` into the folder, in the place of the last one. */
void report_save(const report_t *report);

/* The folder: $XDG_RUNTIME_DIR/lrun, or /tmp/lrun-UID; made if it is not there. NULL where it is not this user's alone.
 * Valid until the next call. */
const char *report_folder(void);

/* Keeps the variable's value: a handler must not ask for it. */
void report_keep_environment(void);

#endif
