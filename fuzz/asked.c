/* Fuzzes what is judged of a request for a file: conditions, ranges, codings, accepted types, and the path of its target. The
 * first byte chooses the size of the file and whether it has validators. Ranges lie inside of the file and do not overlap; a
 * path that is found to be one has no step up, no NUL, and stays within its bounds. */
#include "http/asked.h"
#include "http/dates.h"
#include "http/lookup.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char start[] = "GET / HTTP/1.1\r\n";

/* What is judged has one shape: lines that end in CRLF. */
static char *head_of(const uint8_t *data, size_t size, size_t *len) {
  char *head = malloc(sizeof start + 2 * size + 4);
  if (head == NULL) abort();
  size_t n = sizeof start - 1;
  memcpy(head, start, n);
  for (size_t i = 0; i < size; i++) {
    if (data[i] == '\n') head[n++] = '\r';
    if (data[i] != '\r') head[n++] = (char)data[i];
  }
  memcpy(head + n, "\r\n\r\n", 4);
  *len = n + 4;
  return head;
}

static void check_ranges(const http_asked_t *asked, const http_validators_t *is, uint64_t size) {
  http_range_t ranges[HTTP_RANGES];
  int n = http_asked_ranges(asked, is, size, 1709294400, ranges);
  if (n < HTTP_RANGES_NONE || n > HTTP_RANGES) abort();
  for (int i = 0; i < n; i++) {
    if (ranges[i].first > ranges[i].last || ranges[i].last >= size) abort();
    for (int k = 0; k < i; k++) {
      if (ranges[i].first <= ranges[k].last && ranges[k].first <= ranges[i].last) abort();
    }
  }
}

static void check_path(const uint8_t *data, size_t size, bool target, char *root) {
  http_site_t site = {.root = root, .dotfiles = HTTP_DOTFILES_ALLOW};
  http_lookup_t lookup;
  http_lookup_begin(&lookup, &site, (const char *)data, size, target);
  if (lookup.found != 0) return;
  if (lookup.len >= sizeof lookup.path || strlen(lookup.path) != lookup.len || lookup.len == 0) abort();
  if (root != NULL && lookup.path[0] == '/') abort();
  for (const char *name = lookup.path; name != NULL; name = strchr(name, '/')) {
    if (*name == '/') name++;
    size_t n = strcspn(name, "/");
    if (n == 2 && name[0] == '.' && name[1] == '.') abort();
    if (n == 0 && lookup.len > 1) abort();
  }
}

static void check_date(const uint8_t *data, size_t size) {
  int64_t seconds = http_date_read((const char *)data, size, 1709294400);
  if (seconds == INT64_MIN) return;
  char text[HTTP_DATE_SIZE];
  http_date_write(seconds, text);
  if (http_date_read(text, HTTP_DATE_SIZE - 1, 0) != seconds) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  static const uint64_t sizes[] = {0, 1, 10, 1000000, UINT64_MAX / 2};
  uint8_t choice = *data++;
  size--;
  size_t len;
  char *head = head_of(data, size, &len);
  http_asked_t asked;
  if (http_asked_read(&asked, head, len) == 0) {
    http_validators_t is = {.has_modified = choice & 32, .modified = 1709294400};
    if (choice & 64) is.etag = (http_span_t){"\"tag\"", 5};
    int status = http_asked_status(&asked, &is, 1709294400);
    if (status != 0 && status != 304 && status != 412) abort();
    check_ranges(&asked, &is, sizes[choice % 5]);
    http_weights_t likes = http_asked_codings(&asked);
    if (likes.gzip < 0 || likes.gzip > 1000 || likes.br < 0 || likes.br > 1000 || likes.identity > 1000)
      abort();
    http_asked_page(&asked, true);
  }
  http_asked_free(&asked);
  free(head);
  char root[] = "/srv";
  check_path(data, size, choice & 128, root);
  check_path(data, size, false, NULL);
  check_date(data, size);
  return 0;
}
