/* http/parser.h: the bytes of one peer as HTTP/1 messages, strictly.
 *
 * Pull, do not wait to be called: give http_parser_next what was received, act on the event, come again with
 * the rest. The same bytes give the same events however they were cut. */
#ifndef LRUN_HTTP_PARSER_H
#define LRUN_HTTP_PARSER_H

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
  /* limits: bytes of a head or a trailer section, fields in either */
  uint32_t max_head;
  uint32_t max_fields;
  /* under way */
  buffer_t held; /* a head or trailer section that comes in pieces */
  bool head_waits;    /* it is held until the first chunk size is known to be good */
  bool head_due;      /* it is not to wait any longer */
  size_t line;        /* where its first incomplete line starts */
  size_t scanned;     /* no line end before here */
  uint32_t fields;
  uint8_t seen;       /* framing fields met in this head */
  uint8_t digits;     /* of a chunk size */
  uint32_t extension; /* bytes of chunk extensions and sizes in this message */
  uint64_t left;      /* body bytes to come in this chunk or message */
} http_parser_t;

void http_parser_init(http_parser_t *p, http_role_t role, uint32_t max_head, uint32_t max_fields);
void http_parser_free(http_parser_t *p);

http_event_kind_t http_parser_next(http_parser_t *p, const char *data, size_t len, http_event_t *ev);

/* After HTTP_EV_HEAD: the message has no body whatever its head says (a response to HEAD or CONNECT, an
 * upgrade). */
void http_parser_skip_body(http_parser_t *p);

/* After HTTP_EV_HEAD: whether a body follows, if perhaps an empty one. */
bool http_parser_body_follows(const http_parser_t *p);

/* Whether a head waits for its body's first chunk size; the next call of http_parser_next shows it then. */
bool http_parser_hurry(http_parser_t *p);

/* The connection ended: HTTP_EV_END when that completes the message, HTTP_EV_MORE between messages, else
 * HTTP_EV_FAULT. */
http_event_kind_t http_parser_eof(http_parser_t *p);

/* Whether nothing of a next message has come yet but, perhaps, empty lines. */
bool http_parser_idle(const http_parser_t *p);
/* Not even these. */
bool http_parser_untouched(const http_parser_t *p);
/* Idle, or at the end of a message without a body whose end was not told yet. */
bool http_parser_complete(const http_parser_t *p);

#endif
