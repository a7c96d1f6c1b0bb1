/* http/asked.h: what a request says of the representation it wants: the fields that conditions, ranges and codings are
 * judged by, taken from its head. */
#ifndef LRUN_HTTP_ASKED_H
#define LRUN_HTTP_ASKED_H

#include "io/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the head, or of `joined`; NULL for a field that is not there. */
typedef struct {
  const char *data;
  size_t len;
} http_span_t;

typedef struct {
  bool get, head; /* the method; neither for others */
  http_span_t target;
  http_span_t if_match, if_none_match, if_modified_since, if_unmodified_since, if_range, range;
  http_span_t accept, accept_encoding;
  buffer_t joined[6]; /* lists that came in several lines */
} http_asked_t;

/* Reads a head that was judged. Call http_asked_free afterwards. 0 or UV_ENOMEM. */
int http_asked_read(http_asked_t *asked, const char *head, size_t len);
void http_asked_free(http_asked_t *asked);

/* What the representation is: an ETag with its quotes (NULL for none), and when it was last modified. */
typedef struct {
  http_span_t etag;
  bool has_modified;
  int64_t modified; /* seconds since 1970 */
} http_validators_t;

/* The status that its conditions make of the answer: 304, 412, or 0 to go on. RFC 9110, 13.2.2. `now` in seconds. */
int http_asked_status(const http_asked_t *asked, const http_validators_t *is, int64_t now);

/* Ranges that are answered at once. */
enum { HTTP_RANGES = 8, HTTP_RANGES_WHOLE = 0, HTTP_RANGES_NONE = -1 };
typedef struct {
  uint64_t first, last;
} http_range_t;

/* The ranges of `size` bytes that a GET asks for: how many, HTTP_RANGES_WHOLE where all of it is to be sent (no range, one that
 * is malformed, too many, overlapping ones, another version of If-Range), HTTP_RANGES_NONE where none can be satisfied. */
int http_asked_ranges(const http_asked_t *asked, const http_validators_t *is, uint64_t size, int64_t now,
                      http_range_t ranges[HTTP_RANGES]);

/* How much codings are liked, in thousandths: 0 is refused. `identity` is -1 where nobody named it. */
typedef struct {
  int gzip, br, identity;
} http_weights_t;
http_weights_t http_asked_codings(const http_asked_t *asked);

/* Whether a page may be the answer to something else that is missing: the client names text/html; where it takes all, or says
 * nothing, `plain` decides. */
bool http_asked_page(const http_asked_t *asked, bool plain);

#endif
