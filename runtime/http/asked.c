/* http/asked.c: see http/asked.h. Everything here comes from a peer; nothing of it is trusted to be well formed. */
#include "http/asked.h"

#include "http/dates.h"
#include "http/fields.h"

#include <string.h>
#include <strings.h>
#include <uv.h>

/* Reading a head -------------------------------------------------------------------------------------------------------- */

/* A second line of a list goes behind the first; of what is no list the first counts. */
static int note(http_asked_t *asked, http_span_t *field, int list, const http_field_t *line) {
  if (field->data == NULL) {
    *field = (http_span_t){line->value, line->vlen};
    return 0;
  }
  if (list < 0) return 0;
  buffer_t *b = &asked->joined[list];
  int rc = b->data == NULL ? buffer_add(b, field->data, field->len) : 0;
  if (rc == 0) rc = buffer_add(b, ", ", 2);
  if (rc == 0) rc = buffer_add(b, line->value, line->vlen);
  *field = (http_span_t){b->data, b->len};
  return rc;
}

static bool is(const http_field_t *line, const char *name) {
  return strncasecmp(line->name, name, line->nlen) == 0;
}

static int note_line(http_asked_t *asked, const http_field_t *line) {
  switch (line->nlen) {
  case 5:
    if (is(line, "range")) return note(asked, &asked->range, 0, line);
    break;
  case 6:
    if (is(line, "accept")) return note(asked, &asked->accept, 1, line);
    break;
  case 8:
    if (is(line, "if-match")) return note(asked, &asked->if_match, 2, line);
    if (is(line, "if-range")) return note(asked, &asked->if_range, 3, line);
    break;
  case 13:
    if (is(line, "if-none-match")) return note(asked, &asked->if_none_match, 4, line);
    break;
  case 15:
    if (is(line, "accept-encoding")) return note(asked, &asked->accept_encoding, 5, line);
    break;
  case 17:
    if (is(line, "if-modified-since")) return note(asked, &asked->if_modified_since, -1, line);
    break;
  case 19:
    if (is(line, "if-unmodified-since")) return note(asked, &asked->if_unmodified_since, -1, line);
    break;
  default: break;
  }
  return 0;
}

int http_asked_read(http_asked_t *asked, const char *head, size_t len) {
  const char *end = head + len;
  memset(asked, 0, sizeof *asked);
  const char *nl = memchr(head, '\n', len);
  const char *target = nl != NULL ? memchr(head, ' ', (size_t)(nl - head)) : NULL;
  if (target == NULL) return 0;
  asked->get = target - head == 3 && memcmp(head, "GET", 3) == 0;
  asked->head = target - head == 4 && memcmp(head, "HEAD", 4) == 0;
  target++;
  const char *to = memchr(target, ' ', (size_t)(nl - target));
  asked->target = (http_span_t){target, to != NULL ? (size_t)(to - target) : 0};
  const char *at = nl + 1;
  http_field_t line;
  int rc = 0;
  while (rc == 0 && http_fields_next(&at, end, &line)) rc = note_line(asked, &line);
  return rc;
}

void http_asked_free(http_asked_t *asked) {
  for (size_t i = 0; i < sizeof asked->joined / sizeof *asked->joined; i++) {
    if (asked->joined[i].data != NULL) buffer_free(&asked->joined[i]);
  }
}

/* Lists ------------------------------------------------------------------------------------------------------------------ */

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

static http_span_t trim(http_span_t s) {
  while (s.len > 0 && is_blank(s.data[0])) s.data++, s.len--;
  while (s.len > 0 && is_blank(s.data[s.len - 1])) s.len--;
  return s;
}

static bool same(http_span_t a, http_span_t b) {
  return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static bool same_word(http_span_t a, const char *word) {
  return a.len == strlen(word) && strncasecmp(a.data, word, a.len) == 0;
}

/* Takes the next element off a list whose elements hold no commas; false at its end. */
static bool next_element(http_span_t *list, http_span_t *element) {
  if (list->data == NULL) return false;
  const char *comma = memchr(list->data, ',', list->len);
  size_t n = comma != NULL ? (size_t)(comma - list->data) : list->len;
  *element = trim((http_span_t){list->data, n});
  if (comma != NULL) *list = (http_span_t){comma + 1, list->len - n - 1};
  else list->data = NULL;
  return true;
}

/* Takes the next entity tag off a list of them, which may hold commas; what is none is passed over. False at the end. */
static bool next_tag(http_span_t *list, http_span_t *tag, bool *weak) {
  while (list->len > 0) {
    const char *p = list->data, *end = p + list->len;
    while (p < end && (is_blank(*p) || *p == ',')) p++;
    *weak = end - p >= 2 && p[0] == 'W' && p[1] == '/';
    const char *quote = *weak ? p + 2 : p;
    const char *close =
        quote < end && *quote == '"' ? memchr(quote + 1, '"', (size_t)(end - quote - 1)) : NULL;
    const char *next = close != NULL ? close + 1 : p;
    while (next < end && is_blank(*next)) next++;
    bool good = close != NULL && (next == end || *next == ',');
    while (next < end && *next != ',') next++;
    *list = (http_span_t){next, (size_t)(end - next)};
    if (!good) continue;
    *tag = (http_span_t){quote, (size_t)(close + 1 - quote)};
    return true;
  }
  return false;
}

/* Whether the list names the tag, or is `*`. A strong comparison takes no weak tag for any. */
static bool names_tag(http_span_t list, http_span_t etag, bool strong) {
  if (same_word(trim(list), "*")) return true;
  http_span_t tag;
  bool weak;
  while (next_tag(&list, &tag, &weak)) {
    if (etag.data != NULL && same(tag, etag) && !(strong && weak)) return true;
  }
  return false;
}

/* Conditions -------------------------------------------------------------------------------------------------------------- */

/* The program may have set a tag that is weak. */
static http_span_t opaque(http_span_t etag, bool *weak) {
  *weak = etag.data != NULL && etag.len > 2 && etag.data[0] == 'W' && etag.data[1] == '/';
  return *weak ? (http_span_t){etag.data + 2, etag.len - 2} : etag;
}

static int64_t date_of(http_span_t field, int64_t now) {
  return field.data != NULL ? http_date_read(field.data, field.len, now) : INT64_MIN;
}

int http_asked_status(const http_asked_t *asked, const http_validators_t *is, int64_t now) {
  bool weak;
  http_span_t etag = opaque(is->etag, &weak);
  if (asked->if_match.data != NULL) {
    bool any = same_word(trim(asked->if_match), "*");
    if (!any && (weak || !names_tag(asked->if_match, etag, true))) return 412;
  } else if (asked->if_unmodified_since.data != NULL && is->has_modified) {
    int64_t date = date_of(asked->if_unmodified_since, now);
    if (date != INT64_MIN && is->modified > date) return 412;
  }
  if (asked->if_none_match.data != NULL) return names_tag(asked->if_none_match, etag, false) ? 304 : 0;
  if (asked->if_modified_since.data != NULL && is->has_modified) {
    int64_t date = date_of(asked->if_modified_since, now);
    if (date != INT64_MIN && is->modified <= date) return 304;
  }
  return 0;
}

/* Whether ranges count: the version that the client has parts of is this one. */
static bool same_version(const http_asked_t *asked, const http_validators_t *is, int64_t now) {
  http_span_t says = trim(asked->if_range), tag;
  bool weak, own_weak;
  if (asked->if_range.data == NULL) return true;
  http_span_t etag = opaque(is->etag, &own_weak);
  if (says.len > 0 && (says.data[0] == '"' || says.data[0] == 'W')) {
    http_span_t list = says;
    bool one = next_tag(&list, &tag, &weak) && list.len == 0;
    if (one) return !weak && !own_weak && etag.data != NULL && same(tag, etag);
  }
  return is->has_modified && date_of(says, now) == is->modified;
}

/* Ranges ------------------------------------------------------------------------------------------------------------------ */

static bool take_digits(http_span_t *s, uint64_t *n) {
  size_t i = 0;
  *n = 0;
  for (; i < s->len && s->data[i] >= '0' && s->data[i] <= '9'; i++) {
    uint64_t digit = (uint64_t)(s->data[i] - '0');
    *n = *n > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *n * 10 + digit;
  }
  *s = (http_span_t){s->data + i, s->len - i};
  return i > 0;
}

/* One of the list: 1, 0 where it cannot be satisfied, -1 for what is none. */
static int read_range(http_span_t s, uint64_t size, http_range_t *range) {
  uint64_t first, last = UINT64_MAX;
  if (s.len == 0) return -1;
  if (s.data[0] == '-') {
    s = (http_span_t){s.data + 1, s.len - 1};
    if (!take_digits(&s, &last) || s.len > 0) return -1;
    if (last == 0 || size == 0) return 0;
    *range = (http_range_t){last < size ? size - last : 0, size - 1};
    return 1;
  }
  if (!take_digits(&s, &first) || s.len == 0 || s.data[0] != '-') return -1;
  s = (http_span_t){s.data + 1, s.len - 1};
  if (s.len > 0 && (!take_digits(&s, &last) || s.len > 0 || last < first)) return -1;
  if (first >= size) return 0;
  *range = (http_range_t){first, last < size ? last : size - 1};
  return 1;
}

static bool overlap(const http_range_t *ranges, int n) {
  for (int i = 1; i < n; i++) {
    for (int k = 0; k < i; k++) {
      if (ranges[i].first <= ranges[k].last && ranges[k].first <= ranges[i].last) return true;
    }
  }
  return false;
}

static int read_ranges(http_span_t list, uint64_t size, http_range_t ranges[HTTP_RANGES]) {
  http_span_t each;
  http_range_t range;
  int n = 0, unsatisfied = 0;
  bool too_many = false;
  while (next_element(&list, &each)) {
    if (each.len == 0) continue;
    int kind = read_range(each, size, &range);
    if (kind < 0) return HTTP_RANGES_WHOLE;
    if (kind == 0) unsatisfied++;
    else if (n == HTTP_RANGES) too_many = true;
    else ranges[n++] = range;
  }
  if (n == 0) return unsatisfied > 0 ? HTTP_RANGES_NONE : HTTP_RANGES_WHOLE;
  return too_many || overlap(ranges, n) ? HTTP_RANGES_WHOLE : n;
}

int http_asked_ranges(const http_asked_t *asked, const http_validators_t *is, uint64_t size, int64_t now,
                      http_range_t ranges[HTTP_RANGES]) {
  http_span_t says = trim(asked->range);
  if (!asked->get || asked->range.data == NULL || says.len < 6) return HTTP_RANGES_WHOLE;
  if (strncasecmp(says.data, "bytes=", 6) != 0 || !same_version(asked, is, now)) return HTTP_RANGES_WHOLE;
  return read_ranges((http_span_t){says.data + 6, says.len - 6}, size, ranges);
}

/* Codings and types --------------------------------------------------------------------------------------------------------- */

/* A weight such as "0.25" in thousandths; -1 for what is none. */
static int thousandths(http_span_t s) {
  if (s.len == 0 || s.len > 5 || (s.data[0] != '0' && s.data[0] != '1')) return -1;
  int q = (s.data[0] - '0') * 1000, unit = 100;
  if (s.len > 1 && s.data[1] != '.') return -1;
  for (size_t i = 2; i < s.len; i++, unit /= 10) {
    if (s.data[i] < '0' || s.data[i] > '9') return -1;
    q += (s.data[i] - '0') * unit;
  }
  return q <= 1000 ? q : -1;
}

/* Splits "name;a=b;q=0.5" into its name and weight; false for what is malformed. */
static bool weighed(http_span_t element, http_span_t *name, int *q) {
  const char *semicolon = memchr(element.data, ';', element.len);
  size_t n = semicolon != NULL ? (size_t)(semicolon - element.data) : element.len;
  *name = trim((http_span_t){element.data, n});
  *q = 1000;
  while (semicolon != NULL) {
    http_span_t rest = {semicolon + 1, (size_t)(element.data + element.len - semicolon - 1)};
    semicolon = memchr(rest.data, ';', rest.len);
    if (semicolon != NULL) rest.len = (size_t)(semicolon - rest.data);
    rest = trim(rest);
    if (rest.len < 2 || (rest.data[0] | 32) != 'q' || rest.data[1] != '=') continue;
    *q = thousandths(trim((http_span_t){rest.data + 2, rest.len - 2}));
  }
  return name->len > 0 && *q >= 0;
}

http_weights_t http_asked_codings(const http_asked_t *asked) {
  http_weights_t w = {-1, -1, -1};
  int any = -1, q;
  http_span_t list = asked->accept_encoding, element, name;
  if (list.data == NULL) return (http_weights_t){0, 0, -1};
  while (next_element(&list, &element)) {
    if (!weighed(element, &name, &q)) continue;
    if (same_word(name, "gzip") || same_word(name, "x-gzip")) w.gzip = q;
    else if (same_word(name, "br")) w.br = q;
    else if (same_word(name, "identity")) w.identity = q;
    else if (same_word(name, "*")) any = q;
  }
  if (w.gzip < 0) w.gzip = any > 0 ? any : 0;
  if (w.br < 0) w.br = any > 0 ? any : 0;
  return w;
}

bool http_asked_page(const http_asked_t *asked, bool plain) {
  int page = -1, any = -1, q;
  http_span_t list = asked->accept, element, name;
  if (list.data == NULL) return plain;
  while (next_element(&list, &element)) {
    if (!weighed(element, &name, &q)) continue;
    if (same_word(name, "text/html")) page = q;
    else if (same_word(name, "*/*") || same_word(name, "text/*")) any = q > any ? q : any;
  }
  return page >= 0 ? page > 0 : any > 0 && plain;
}
