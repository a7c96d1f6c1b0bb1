/* http/answer.c: see http/answer.h. */
#include "http/answer.h"

#include "files/range.h"
#include "http/format.h"
#include "http/types.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SMALL = 32 * 1024 }; /* bodies up to here go out with their head, in one write */

/* Hexadecimal digits of n at `to`; how many. */
static size_t put_hex(char *to, uint64_t n) {
  size_t len = 1;
  for (uint64_t rest = n >> 4; rest > 0; rest >>= 4) len++;
  for (size_t i = len; i-- > 0; n >>= 4) to[i] = "0123456789abcdef"[n & 15];
  return len;
}

/* The validator is strong: it changes with the bytes, as far as the file system tells. */
static void make_etag(http_answer_t *answer, const struct statx *st) {
  char *to = answer->etag;
  size_t n = 0;
  to[n++] = '"';
  n += put_hex(to + n, st->stx_ino);
  to[n++] = '-';
  n += put_hex(to + n, st->stx_size);
  to[n++] = '-';
  n += put_hex(to + n, (uint64_t)st->stx_mtime.tv_sec);
  to[n++] = '.';
  n += put_hex(to + n, st->stx_mtime.tv_nsec);
  to[n++] = '"';
  answer->etag_len = n;
}

static void make_boundary(http_answer_t *answer) {
  uint8_t random[12];
  uv_random(NULL, NULL, random, sizeof random, 0, NULL);
  for (size_t i = 0; i < sizeof random; i++) sprintf(answer->boundary + 2 * i, "%02x", random[i]);
}

static int put_text(buffer_t *out, const char *text) { return buffer_add(out, text, strlen(text)); }

/* "bytes 0-9/100", and what is before and behind it. */
static int put_range(buffer_t *out, const http_range_t *range, uint64_t size) {
  char *to = buffer_room(out, 100);
  if (to == NULL) return UV_ENOMEM;
  out->len += (size_t)sprintf(to, "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n",
                              range->first, range->last, size);
  return 0;
}

static int put_part(http_answer_t *answer, int i) {
  buffer_t *b = &answer->heads;
  int rc = put_text(b, i == 0 ? "--" : "\r\n--");
  if (rc == 0) rc = put_text(b, answer->boundary);
  if (rc == 0) rc = put_text(b, "\r\nContent-Type: ");
  if (rc == 0) rc = buffer_add(b, answer->type, answer->type_len);
  if (rc == 0) rc = put_text(b, "\r\n");
  if (rc == 0) rc = put_range(b, &answer->ranges[i], answer->size);
  return rc == 0 ? put_text(b, "\r\n") : rc;
}

static int make_parts(http_answer_t *answer) {
  make_boundary(answer);
  int rc = 0;
  answer->length = 0;
  for (int i = 0; i < answer->count && rc == 0; i++) {
    rc = put_part(answer, i);
    answer->ends[i] = answer->heads.len;
    answer->length += answer->ranges[i].last - answer->ranges[i].first + 1;
  }
  if (rc == 0) rc = put_text(&answer->heads, "\r\n--");
  if (rc == 0) rc = put_text(&answer->heads, answer->boundary);
  if (rc == 0) rc = put_text(&answer->heads, "--\r\n");
  answer->ends[answer->count] = answer->heads.len;
  answer->length += answer->heads.len;
  return rc;
}

static void choose_type(http_answer_t *answer, const http_lookup_t *lookup, const http_preset_t *preset) {
  answer->type = preset->type.data;
  answer->type_len = preset->type.len;
  if (answer->type != NULL) return;
  answer->type = lookup->site->type != NULL ? lookup->site->type : http_type_of(lookup->path, lookup->len);
  answer->type_len = strlen(answer->type);
}

static http_validators_t validators(http_answer_t *answer, const http_lookup_t *lookup,
                                    const http_preset_t *preset, int64_t now) {
  const http_site_t *site = lookup->site;
  const struct statx *st = &http_lookup_sent(lookup)->st;
  http_validators_t is = {.etag = preset->etag};
  if (is.etag.data == NULL && site->etag) {
    make_etag(answer, st);
    is.etag = (http_span_t){answer->etag, answer->etag_len};
  }
  if (preset->modified.data != NULL) {
    is.modified = http_date_read(preset->modified.data, preset->modified.len, now);
    is.has_modified = is.modified != INT64_MIN;
  } else if (site->modified) {
    is.modified = st->stx_mtime.tv_sec;
    is.has_modified = true;
    http_date_write(is.modified, answer->modified);
  }
  return is;
}

int http_answer_begin(http_answer_t *answer, const http_lookup_t *lookup, const http_asked_t *asked,
                      const http_preset_t *preset) {
  memset(answer, 0, sizeof *answer);
  int64_t now = time(NULL);
  answer->size = answer->length = http_lookup_sent(lookup)->st.stx_size;
  answer->status = 200;
  choose_type(answer, lookup, preset);
  http_validators_t is = validators(answer, lookup, preset, now);
  if (!asked->get && !asked->head) return 0;
  int status = http_asked_status(asked, &is, now);
  if (status != 0) {
    answer->status = status;
    return 0;
  }
  int count = lookup->site->ranges ? http_asked_ranges(asked, &is, answer->size, now, answer->ranges)
                                   : HTTP_RANGES_WHOLE;
  if (count == HTTP_RANGES_WHOLE) return 0;
  answer->status = count == HTTP_RANGES_NONE ? 416 : 206;
  if (count == HTTP_RANGES_NONE) return 0;
  answer->count = count;
  answer->length = answer->ranges[0].last - answer->ranges[0].first + 1;
  return count > 1 ? make_parts(answer) : 0;
}

void http_answer_free(http_answer_t *answer) { buffer_free(&answer->heads); }

/* Fields ------------------------------------------------------------------------------------------------------------------ */

static int put_field(buffer_t *out, const char *name, const char *value, size_t len) {
  return http_response_field(out, name, strlen(name), value, len);
}

static int put_type(const http_answer_t *answer, const http_preset_t *preset, buffer_t *out) {
  if (answer->count > 1) {
    char value[64];
    int n = sprintf(value, "multipart/byteranges; boundary=%s", answer->boundary);
    return put_field(out, "Content-Type", value, (size_t)n);
  }
  return preset->type.data != NULL ? 0 : put_field(out, "Content-Type", answer->type, answer->type_len);
}

/* What an answer without a body has, too. */
static int put_facts(const http_answer_t *answer, const http_lookup_t *lookup, const http_preset_t *preset,
                     buffer_t *out) {
  const http_site_t *site = lookup->site;
  int rc = 0;
  if (answer->etag_len > 0) rc = put_field(out, "ETag", answer->etag, answer->etag_len);
  if (rc == 0 && answer->modified[0] != 0)
    rc = put_field(out, "Last-Modified", answer->modified, HTTP_DATE_SIZE - 1);
  if (rc == 0 && site->cache_control != NULL && !preset->cache_control)
    rc = put_field(out, "Cache-Control", site->cache_control, strlen(site->cache_control));
  if (rc == 0 && lookup->varies && !preset->vary) rc = put_text(out, "Vary: Accept-Encoding\r\n");
  if (rc == 0 && site->ranges) rc = put_text(out, "Accept-Ranges: bytes\r\n");
  return rc;
}

int64_t http_answer_length(const http_answer_t *answer) {
  return answer->status == 200 || answer->status == 206 ? (int64_t)answer->length : -1;
}

int http_answer_fields(const http_answer_t *answer, const http_lookup_t *lookup, const http_preset_t *preset,
                       buffer_t *out) {
  if (answer->status == 416 || answer->status == 412) return 0;
  int rc = put_facts(answer, lookup, preset, out);
  if (rc < 0 || answer->status == 304) return rc;
  rc = put_type(answer, preset, out);
  if (rc == 0 && lookup->coding != NULL)
    rc = put_field(out, "Content-Encoding", lookup->coding, strlen(lookup->coding));
  if (rc == 0 && answer->count == 1) rc = put_range(out, &answer->ranges[0], answer->size);
  return rc == 0 ? http_response_length(out, answer->length) : rc;
}

/* The body ---------------------------------------------------------------------------------------------------------------- */

static http_range_t only_range(const http_answer_t *answer) {
  return answer->count == 1 ? answer->ranges[0] : (http_range_t){0, answer->size - 1};
}

bool http_answer_body_now(const http_answer_t *answer, int fd, buffer_t *out) {
  if (answer->count > 1 || answer->length > SMALL) return false;
  file_range_t range = {.fd = fd, .offset = only_range(answer).first, .left = answer->length};
  size_t length = (size_t)answer->length;
  char *to = buffer_room(out, length);
  if (to == NULL || file_range_take(&range, to, length) != (ssize_t)length) return false;
  out->len += length;
  return true;
}

static int write_range(stream_t *stream, int fd, const http_range_t *range) {
  stream_file_t file = {
      .fd = fd, .owned = true, .offset = range->first, .length = range->last - range->first + 1};
  int rc = fd < 0 ? UV_EMFILE : stream_write_file(stream, &file);
  if (rc < 0 && fd >= 0) close(fd);
  return rc;
}

int http_answer_body(const http_answer_t *answer, int fd, stream_t *stream) {
  if (answer->count <= 1) {
    http_range_t range = only_range(answer);
    return write_range(stream, fd, &range);
  }
  size_t from = 0;
  int rc = 0;
  for (int i = 0; i < answer->count && rc == 0; i++) { /* each has a descriptor: they end on their own */
    rc = buffer_add(stream_out(stream), answer->heads.data + from, answer->ends[i] - from);
    from = answer->ends[i];
    bool last = i == answer->count - 1;
    if (rc == 0) rc = write_range(stream, last ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 0), &answer->ranges[i]);
    else if (last) close(fd);
    if (rc < 0 && !last) close(fd);
  }
  return rc == 0
             ? buffer_add(stream_out(stream), answer->heads.data + from, answer->ends[answer->count] - from)
             : rc;
}
