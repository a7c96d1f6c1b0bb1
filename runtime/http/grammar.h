/* http/grammar.h: what http/parser.c and http/body.c share: character classes and the parser's states. */
#ifndef LRUN_HTTP_GRAMMAR_H
#define LRUN_HTTP_GRAMMAR_H

#include "http/parser.h"

enum {
  HTTP_STATE_START,   /* between messages; `line` says that a CR was seen, `scanned` counts empty lines' bytes
                       */
  HTTP_STATE_HEAD,    /* in a head */
  HTTP_STATE_NO_BODY, /* head shown, HTTP_EV_END is next */
  HTTP_STATE_LENGTH,  /* `left` bytes to come */
  HTTP_STATE_UNTIL_EOF,
  HTTP_STATE_CHUNK_SIZE,
  HTTP_STATE_CHUNK_EXTENSION,
  HTTP_STATE_CHUNK_SIZE_LF,
  HTTP_STATE_CHUNK_DATA,
  HTTP_STATE_CHUNK_CR,
  HTTP_STATE_CHUNK_LF,
  HTTP_STATE_TRAILER_START, /* the held head, if any, may still be in use */
  HTTP_STATE_TRAILER,
  HTTP_STATE_DEAD
};

enum { HTTP_TOKEN = 1, HTTP_TEXT = 2, HTTP_HOST = 4, HTTP_PLAIN = 8 };
extern const unsigned char http_classes[256];
/* RFC 9110 tchar */
static inline bool http_is_token(unsigned char c) { return (http_classes[c] & HTTP_TOKEN) != 0; }
/* may stand in a field value: no control byte but tab */
static inline bool http_is_text(unsigned char c) { return (http_classes[c] & HTTP_TEXT) != 0; }
/* may stand in a Host value */
static inline bool http_is_host(unsigned char c) { return (http_classes[c] & HTTP_HOST) != 0; }
/* may stand in a path or query without a second look */
static inline bool http_is_plain(unsigned char c) { return (http_classes[c] & HTTP_PLAIN) != 0; }
static inline bool http_is_digit(char c) { return c >= '0' && c <= '9'; }

/* What a head's lines have said (http_parser_t.seen). */
enum {
  SEEN_HOST = 1,
  SEEN_LENGTH = 2,
  SEEN_CODING = 4,
  SEEN_FINAL_CHUNKED = 8,
  SEEN_KEEP_ALIVE = 16, /* Connection: keep-alive and nothing else */
  SEEN_CLOSE = 32,      /* Connection: close and nothing else */
  SEEN_ODD = 64         /* something that llhttp has to judge */
};

/* Ends the parser with a fault; returns HTTP_EV_FAULT. */
http_event_kind_t http_fail(http_parser_t *p, int status, const char *code, const char *reason);
static inline http_event_kind_t http_fail_line(http_parser_t *p, const char *code, const char *reason) {
  return http_fail(p, 400, code, reason);
}
/* Judges the complete lines of a head or trailer section; HTTP_EV_HEAD when its empty line was found. */
http_event_kind_t http_scan_lines(http_parser_t *p, const char *text, size_t len, size_t *size);

void http_body_begin_chunk(http_parser_t *p);
/* Reads one chunk size line; HTTP_EV_BODY when it is complete. */
http_event_kind_t http_body_size_line(http_parser_t *p, const char *data, size_t len, size_t *used);
http_event_kind_t http_body_next(http_parser_t *p, const char *data, size_t len, http_event_t *ev);

#endif
