/* http/dates.h: dates as HTTP writes and reads them. */
#ifndef LRUN_HTTP_DATES_H
#define LRUN_HTTP_DATES_H

#include <stddef.h>
#include <stdint.h>

enum { HTTP_DATE_SIZE = 30 }; /* "Sun, 06 Nov 1994 08:49:37 GMT" and its zero */

/* Seconds since 1970 as such a date. Years outside of 0 to 9999 are the nearest that can be written. */
void http_date_write(int64_t seconds, char to[HTTP_DATE_SIZE]);

/* Reads the three forms of RFC 9110: that one, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994". A year of two
 * digits is not more than 50 years after `now`. INT64_MIN for what is no date. */
int64_t http_date_read(const char *text, size_t len, int64_t now);

#endif
