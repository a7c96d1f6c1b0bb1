/* http/answer.h: the answer that is a file: its status, its fields, its body. */
#ifndef LRUN_HTTP_ANSWER_H
#define LRUN_HTTP_ANSWER_H

#include "http/connection.h"
#include "http/dates.h"
#include "http/lookup.h"

/* What the program has set by itself: it stays, and conditions are judged by it. NULL for what is not set. */
typedef struct {
  http_span_t etag, modified, type;
  bool cache_control, vary;
} http_preset_t;

typedef struct {
  int status; /* 200, 206, 304; 412 and 416, which have no file */
  int count;  /* of ranges that are sent; 0: all */
  http_range_t ranges[HTTP_RANGES];
  uint64_t size;   /* of what is sent, whole */
  uint64_t length; /* of the body */
  const char *type;
  size_t type_len;
  char etag[64], modified[HTTP_DATE_SIZE];
  size_t etag_len;
  char boundary[25];
  buffer_t heads; /* of the parts of several ranges, one behind another, and what follows the last */
  size_t ends[HTTP_RANGES + 1];
} http_answer_t;

/* Judges what was found. 0 or UV_ENOMEM. Call http_answer_free afterwards. */
int http_answer_begin(http_answer_t *answer, const http_lookup_t *lookup, const http_asked_t *asked,
                      const http_preset_t *preset);
void http_answer_free(http_answer_t *answer);

/* Whether the file has to be read. */
static inline bool http_answer_has_body(const http_answer_t *answer, const http_asked_t *asked) {
  return !asked->head && answer->length > 0 && (answer->status == 200 || answer->status == 206);
}

/* Appends the lines of its fields; Content-Length is among them where there is one. 0 or UV_ENOMEM. */
int http_answer_fields(const http_answer_t *answer, const http_lookup_t *lookup, const http_preset_t *preset,
                       buffer_t *out);

/* Its Content-Length, -1 for none. */
int64_t http_answer_length(const http_answer_t *answer);

/* Appends the body where it is small and in memory, and says so; nothing is appended else. */
bool http_answer_body_now(const http_answer_t *answer, int fd, buffer_t *out);

/* Has the stream send the body. The descriptor is the answer's from here on. 0 or UV_E*. */
int http_answer_body(const http_answer_t *answer, int fd, stream_t *stream);

#endif
