/* websocket/parser.h: what a peer sends, bytes into messages (RFC 6455, section 5): no stream, no Lua.
 *
 * ws_parser_next takes bytes and tells one thing that they say: a message, a control frame, a fault. A message that lies
 * in the bytes as a whole needs no memory of the connection's: it is unmasked into the scratch memory that all parsers of
 * a VM share. Any other collects in `message`. Text is checked, and what is compressed inflated, as it comes. */
#ifndef LRUN_WEBSOCKET_PARSER_H
#define LRUN_WEBSOCKET_PARSER_H

#include "io/buffer.h"
#include "websocket/deflate.h"
#include "websocket/utf8.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  WS_CONTINUATION = 0,
  WS_TEXT = 1,
  WS_BINARY = 2,
  WS_CLOSE = 8,
  WS_PING = 9,
  WS_PONG = 10,
  WS_OPCODE = 15,
  WS_RSV1 = 0x40,
  WS_FIN = 0x80,
  WS_MASKED = 0x80,
  WS_HEAD_MAX = 14,
  WS_CONTROL_MAX = 125
};

/* Close codes that we send by ourselves. */
enum {
  WS_PROTOCOL_ERROR = 1002,
  WS_NO_STATUS = 1005,
  WS_ABNORMAL = 1006,
  WS_INVALID_DATA = 1007,
  WS_TOO_BIG = 1009
};

typedef enum {
  WS_EV_MORE, /* all bytes taken, no event yet */
  WS_EV_MESSAGE,
  WS_EV_PING,
  WS_EV_PONG,
  WS_EV_CLOSE, /* data: the reason; `status` */
  WS_EV_FAULT  /* see workshop->fault; the parser takes nothing more */
} ws_event_kind_t;

typedef struct {
  size_t used;      /* input bytes that this event took */
  const char *data; /* valid until the next call, or ws_parser_drop */
  size_t len;
  bool binary;
  uint16_t status; /* of a close frame, WS_NO_STATUS where it had none */
} ws_event_t;

/* Why the connection has to end. */
typedef struct {
  uint16_t status;    /* the close code */
  const char *code;   /* as npm's ws names it: "WS_ERR_INVALID_OPCODE" */
  const char *reason; /* for people */
  int64_t number;     /* that belongs to the reason, or -1 */
} ws_fault_t;

typedef struct {
  buffer_t scratch; /* what all parsers of a VM share */
  buffer_t inflated;
  ws_inflaters_t inflaters;
  ws_fault_t fault; /* the last one */
} ws_workshop_t;

typedef struct {
  ws_workshop_t *workshop;
  uint64_t max_payload;
  ws_agreed_t inflate; /* how the peer compresses */
  bool server;         /* what comes must be masked */
  /* the frame under way */
  uint8_t head_len;
  uint8_t op; /* as its head says */
  bool fin;
  bool in_payload;
  uint8_t mask_at;
  uint8_t control_len;
  uint8_t key[4];
  uint8_t head[WS_HEAD_MAX];
  uint64_t left; /* payload to come */
  char *control; /* payload of a control frame that came in pieces */
  /* the message under way */
  uint8_t message_op; /* 0: none */
  bool compressed;
  utf8_t utf8;
  uint64_t size; /* of its frames so far */
  buffer_t message;
  ws_inflater_t *inflater;
  bool failed; /* workshop->fault says why, until another one's does */
} ws_parser_t;

void ws_parser_init(ws_parser_t *p, ws_workshop_t *workshop, bool server, uint64_t max_payload);

ws_event_kind_t ws_parser_next(ws_parser_t *p, const char *in, size_t len, ws_event_t *ev);

/* The last event's data are not needed any more. */
void ws_parser_drop(ws_parser_t *p);

/* Gives all memory back. */
void ws_parser_free(ws_parser_t *p);
void ws_workshop_free(ws_workshop_t *workshop);

/* Scratch memory that grew beyond is given back. */
enum { WS_SCRATCH_KEPT = 256 * 1024 };

/* Whether a close frame may have this code. */
bool ws_close_code_valid(unsigned code);

#endif
