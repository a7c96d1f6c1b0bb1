/* http/message.h: one message as far as it was parsed: what http/lines.c, http/body.c and http/parser.c have in common.
 */
#ifndef LRUN_HTTP_MESSAGE_H
#define LRUN_HTTP_MESSAGE_H

#include "io/buffer.h"

#include <stdbool.h>
#include <stdint.h>

/* A client's requests or a server's responses. */
typedef enum { HTTP_PARSE_REQUESTS, HTTP_PARSE_RESPONSES } http_role_t;

typedef enum {
  HTTP_EV_MORE, /* all bytes taken, no event yet */
  HTTP_EV_HEAD, /* a whole head in data/len; the fields of the parser describe it */
  HTTP_EV_BODY, /* a piece of the body in data/len */
  HTTP_EV_END,  /* the message is complete; data/len: its trailer section, empty when it had none */
  HTTP_EV_FAULT /* not HTTP, or not safe; see fault. The parser takes nothing more */
} http_event_kind_t;

typedef struct {
  size_t used;      /* input bytes that this event took */
  const char *data; /* valid until the next call */
  size_t len;
} http_event_t;

/* Why a message was refused. */
typedef struct {
  int status;         /* what a server answers: 400, 408, 413, 431, 505 */
  const char *code;   /* as Node names it: "HPE_INVALID_HEADER_TOKEN" */
  const char *reason; /* for people */
} http_fault_t;

typedef struct {
  http_role_t role;
  uint8_t state;
  /* of the message whose head was last seen */
  uint8_t method; /* llhttp's number */
  uint8_t minor;  /* HTTP/1.minor */
  uint16_t status;
  bool keep_alive;             /* what version and Connection say */
  bool upgrade;                /* Upgrade with Connection: upgrade, or CONNECT */
  bool chunked;                /* the body is */
  bool until_eof;              /* a response whose body ends with the connection */
  bool has_length;             /* Content-Length was given */
  bool expect;                 /* an Expect header was given */
  bool expect_100;             /* and says 100-continue */
  uint32_t target, target_len; /* of a request, offsets into the head */
  uint64_t length;             /* Content-Length, 0 when there was none */
  http_fault_t fault;
  /* limits: bytes of a head, of a trailer section, of the chunk extensions; fields in a head or trailer section */
  uint32_t max_head;
  uint32_t max_fields;
  /* under way */
  buffer_t held;   /* a head or trailer section that comes in pieces */
  bool head_waits; /* it is held until the first chunk size is known to be good */
  bool head_due;   /* it is not to wait any longer */
  size_t line;     /* where its first incomplete line starts */
  size_t scanned;  /* no line end before here */
  uint32_t fields;
  uint8_t seen;       /* framing fields met in this head */
  uint8_t digits;     /* of a chunk size */
  uint8_t within;     /* where in a chunk extension */
  uint32_t extension; /* bytes of chunk extensions in this message */
  uint64_t left;      /* body bytes to come in this chunk or message */
} http_parser_t;

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

/* What a head's lines have said (http_parser_t.seen). */
enum {
  SEEN_HOST = 1,
  SEEN_LENGTH = 2,
  SEEN_CODING = 4,
  SEEN_FINAL_CHUNKED = 8,
  SEEN_KEEP_ALIVE = 16, /* Connection: keep-alive and nothing else */
  SEEN_CLOSE = 32,      /* Connection: close and nothing else */
  SEEN_ODD = 64,        /* something that llhttp has to judge */
  SEEN_TAB = 128        /* a tab behind a value: it belongs to none, llhttp is not shown it */
};

/* Ends the parser with a fault; returns HTTP_EV_FAULT. */
static inline http_event_kind_t http_fail(http_parser_t *p, int status, const char *code,
                                          const char *reason) {
  p->state = HTTP_STATE_DEAD;
  p->fault = (http_fault_t){status, code, reason};
  buffer_free(&p->held);
  return HTTP_EV_FAULT;
}
static inline http_event_kind_t http_fail_line(http_parser_t *p, const char *code, const char *reason) {
  return http_fail(p, 400, code, reason);
}

#endif
