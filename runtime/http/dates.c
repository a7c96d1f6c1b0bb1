/* http/dates.c: see http/dates.h. Never by strftime: not in the user's language. */
#include "http/dates.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char days[] = "ThuFriSatSunMonTueWed"; /* 1970 began on a Thursday */
static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char *const long_days[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                        "Friday", "Saturday", "Sunday"};

static int64_t days_before(int64_t year, int month, int day) {
  int64_t y = month > 2 ? year : year - 1; /* years from March on: the leap day comes last */
  int64_t era = (y >= 0 ? y : y - 399) / 400;
  int64_t of_era = y - era * 400, of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

void http_date_write(int64_t seconds, char to[HTTP_DATE_SIZE]) {
  if (seconds < -62167219200) seconds = -62167219200; /* year 0 */
  if (seconds > 253402300799) seconds = 253402300799; /* the end of 9999 */
  int64_t day = (seconds >= 0 ? seconds : seconds - 86399) / 86400;
  int rest = (int)(seconds - day * 86400);
  int64_t z = day + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
  int64_t of_era = z - era * 146097;
  int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  int of_year = (int)(of_era - (365 * year + year / 4 - year / 100));
  int shifted = (5 * of_year + 2) / 153, month = (shifted + 2) % 12;
  year += era * 400 + (month < 2);
  int of_month = of_year - (153 * shifted + 2) / 5 + 1, weekday = (int)(((day % 7) + 7) % 7);
  char *p = to;
  memcpy(p, days + 3 * weekday, 3);
  memcpy(p + 3, ", 00 xxx 0000 00:00:00 GMT", 27);
  memcpy(p + 8, months + 3 * month, 3);
  p[5] = (char)('0' + of_month / 10);
  p[6] = (char)('0' + of_month % 10);
  for (int i = 15; i >= 12; i--, year /= 10) p[i] = (char)('0' + year % 10);
  int parts[] = {rest / 3600, rest / 60 % 60, rest % 60};
  for (int i = 0; i < 3; i++) {
    p[17 + 3 * i] = (char)('0' + parts[i] / 10);
    p[18 + 3 * i] = (char)('0' + parts[i] % 10);
  }
}

/* Reading: each function takes what it knows off the text, or says no. */
typedef struct {
  const char *at, *end;
} text_t;

static bool take(text_t *t, const char *word) {
  size_t n = strlen(word);
  if ((size_t)(t->end - t->at) < n || memcmp(t->at, word, n) != 0) return false;
  t->at += n;
  return true;
}

static bool take_number(text_t *t, int digits, int *n) {
  if (t->end - t->at < digits) return false;
  *n = 0;
  for (int i = 0; i < digits; i++) {
    if (t->at[i] < '0' || t->at[i] > '9') return false;
    *n = *n * 10 + (t->at[i] - '0');
  }
  t->at += digits;
  return true;
}

/* One of `list`, names of three letters: its place from 0. */
static bool take_name(text_t *t, const char *list, int *place) {
  if (t->end - t->at < 3) return false;
  for (int i = 0; list[3 * i] != 0; i++) {
    if (memcmp(t->at, list + 3 * i, 3) != 0) continue;
    t->at += 3;
    *place = i;
    return true;
  }
  return false;
}

static bool take_long_day(text_t *t) {
  for (int i = 0; i < 7; i++) {
    if (take(t, long_days[i])) return true;
  }
  return false;
}

typedef struct {
  int year, month, day, hour, minute, second;
} date_t;

static bool take_clock(text_t *t, date_t *d) {
  return take_number(t, 2, &d->hour) && take(t, ":") && take_number(t, 2, &d->minute) && take(t, ":") &&
         take_number(t, 2, &d->second);
}

static bool read_fixed(text_t t, date_t *d) {
  int weekday;
  return take_name(&t, days, &weekday) && take(&t, ", ") && take_number(&t, 2, &d->day) && take(&t, " ") &&
         take_name(&t, months, &d->month) && take(&t, " ") && take_number(&t, 4, &d->year) && take(&t, " ") &&
         take_clock(&t, d) && take(&t, " GMT") && t.at == t.end;
}

static bool read_long(text_t t, date_t *d, int64_t now) {
  bool read = take_long_day(&t) && take(&t, ", ") && take_number(&t, 2, &d->day) && take(&t, "-") &&
              take_name(&t, months, &d->month) && take(&t, "-") && take_number(&t, 2, &d->year) &&
              take(&t, " ") && take_clock(&t, d) && take(&t, " GMT") && t.at == t.end;
  if (!read) return false;
  char today[HTTP_DATE_SIZE];
  http_date_write(now, today);
  int year = 0;
  for (int i = 12; i < 16; i++) year = year * 10 + (today[i] - '0');
  d->year += year / 100 * 100;
  if (d->year > year + 50) d->year -= 100;
  return true;
}

static bool read_c(text_t t, date_t *d) {
  int weekday;
  bool read =
      take_name(&t, days, &weekday) && take(&t, " ") && take_name(&t, months, &d->month) && take(&t, " ");
  if (!read) return false;
  read = take(&t, " ") ? take_number(&t, 1, &d->day) : take_number(&t, 2, &d->day);
  return read && take(&t, " ") && take_clock(&t, d) && take(&t, " ") && take_number(&t, 4, &d->year) &&
         t.at == t.end;
}

static bool is_date(const date_t *d) {
  static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = (d->year % 4 == 0 && d->year % 100 != 0) || d->year % 400 == 0;
  int length = lengths[d->month] + (leap && d->month == 1);
  return d->day >= 1 && d->day <= length && d->hour <= 23 && d->minute <= 59 && d->second <= 60;
}

int64_t http_date_read(const char *text, size_t len, int64_t now) {
  text_t t = {text, text + len};
  date_t d;
  if (!read_fixed(t, &d) && !read_long(t, &d, now) && !read_c(t, &d)) return INT64_MIN;
  if (!is_date(&d)) return INT64_MIN;
  return days_before(d.year, d.month + 1, d.day) * 86400 + d.hour * 3600 + d.minute * 60 + d.second;
}
