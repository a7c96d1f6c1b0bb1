/* websocket/connection.h: one WebSocket connection on a byte stream, a server's or a client's side.
 *
 * It is a Lua userdata. Lua's side of it is a table, `socket`, which keeps it alive while the stream is open. The stream,
 * plain or encrypted, comes from HTTP's connection after the handshake; what it is this one does not know. */
#ifndef LRUN_WEBSOCKET_CONNECTION_H
#define LRUN_WEBSOCKET_CONNECTION_H

#include "io/stream.h"
#include "websocket/parser.h"
#include "websocket/shared.h"

#include <lua.h>
#include <stddef.h>
#include <sys/queue.h>

typedef struct ws_group ws_group_t;
typedef struct ws_member ws_member_t;

/* How far a connection is on its way out; it only goes on. */
typedef enum {
  WS_OPEN,
  WS_CLOSING, /* a close frame was sent, the peer's is to come: what comes before it is still heard */
  WS_MUTED,   /* nothing more is heard: both close frames are there, or the peer broke the rules */
  WS_DEAD     /* closed; Lua has yet to be told */
} ws_way_t;

/* Few connections have any of this. */
typedef struct {
  buffer_t in;         /* received, and not parsed while Lua pauses */
  buffer_t held;       /* frames that were published between the parts of a message */
  uint64_t large_end;  /* where in the output the one message ends that is longer than the limit by itself */
  uint64_t large_size; /* and how long it is; 0: there is none */
  int reason;          /* registry ref of the peer's close reason, or LUA_NOREF */
  bool pong;           /* there is an answer to a ping that came while much output waited */
  uint8_t pong_len;
  char pong_data[WS_CONTROL_MAX];
} ws_extra_t;

/* Times are ms of loop time, of which the lower 32 bits do: 49 days. */
/* What every message looks at lies together: stream_t says why. */
struct ws_conn {
  stream_t stream; /* first: a stream is cast to its connection */
  ws_group_t *group;
  ws_extra_t *extra; /* NULL: it has none of that */
  uint64_t appended; /* bytes of output since the beginning */
  uint32_t heard_at; /* the last byte received */
  int ref;           /* registry ref of Lua's table, held while the stream is open, and while C is at work */
  uint16_t holds;    /* see ws_conn_hold */
  uint16_t code;     /* what Lua is told at the end */
  uint8_t way;       /* ws_way_t */
  bool dirty;        /* in shared->dirty */
  bool parsing;      /* on the C stack: output waits for its end */
  bool paused;
  bool eof;     /* the peer sends nothing more */
  bool overdue; /* the sweep found that nothing had come for too long */
  bool leaves;  /* muted: we end our side first */
  bool sending; /* a message whose last part is to come */
  bool sending_compressed;
  bool deflated;       /* its own compressor was used since the last ping */
  bool starved;        /* send has said that the limit is passed */
  bool tell_sent;      /* Lua wants to hear what was written */
  ws_agreed_t deflate; /* how we compress */
  ws_parser_t parser;
  SLIST_HEAD(, ws_member) topics; /* that it has subscribed to */
  ws_deflater_t *deflater;        /* its own, where the window goes on */
  LIST_ENTRY(ws_conn) link;       /* in the group's list */
  uint32_t moved;                 /* how many were written when the sweep looked last, the lower bits */
  uint32_t moved_at;              /* when that had changed */
  uint32_t turned_at;             /* the last ping sent; of one that closes: since when */
};

/* What the connections of a server, or of clients with the same options, have in common. */
struct ws_group {
  ws_shared_t *shared;
  LIST_HEAD(, ws_conn) conns;
  ws_conn_t *sweep_next; /* where ws_group_sweep goes on */
  uint32_t count;
  bool server;
  bool drop; /* past the limit messages are dropped, else the connection is closed */
  uint64_t max_payload;
  uint64_t limit; /* bytes of output that may wait, 0 for any number */
  uint64_t idle_timeout, ping_interval, close_timeout, stall_timeout; /* ms, 0 for none */
  uint64_t threshold; /* shorter messages are not compressed where each stands for itself */
  ws_effort_t effort;
  int topics; /* registry ref of a table: name → topic, of those with subscribers */
};

/* `readyState` of the socket in Lua. */
enum { WS_STATE_CONNECTING, WS_STATE_OPEN, WS_STATE_CLOSING, WS_STATE_CLOSED };

static inline bool ws_conn_is_open(const ws_conn_t *conn) { return stream_is_open(&conn->stream); }

/* websocket/connection.c ----------------------------------------------------------------------------------- */

/* Made when it is first needed; NULL when memory is out. */
ws_extra_t *ws_conn_extra(ws_conn_t *conn);
/* The loop's time. */
static inline uint32_t ws_conn_now(const ws_conn_t *conn) {
  return (uint32_t)uv_now(conn->group->shared->loop);
}
/* Hangs a connection on a luv handle, or takes a stream that is lent; Lua's table is on top of the stack and is popped. */
void ws_conn_attach(lua_State *L, ws_conn_t *conn, ws_group_t *group, uv_stream_t *handle, stream_t *lent);
/* Takes bytes that came behind the handshake, then reads. */
void ws_conn_start(lua_State *L, ws_conn_t *conn, const char *data, size_t len);
void ws_conn_pause(ws_conn_t *conn);
void ws_conn_resume(lua_State *L, ws_conn_t *conn);
/* From hold to let_go the connection is not collected, whatever closes it: for who is called by the loop. */
static inline void ws_conn_hold(ws_conn_t *conn) { conn->holds++; }
void ws_conn_let_go(ws_conn_t *conn);
/* For who is about to send to many. */
static inline void ws_conn_expect(const ws_conn_t *conn) {
  enum { LINE = 64 };
  const char *at = (const char *)conn;
  for (size_t i = 0; i < offsetof(ws_conn_t, parser); i += LINE) __builtin_prefetch(at + i);
}
/* Closes the handle now; safe to repeat. */
void ws_conn_close(lua_State *L, ws_conn_t *conn);
/* Nothing more is heard; the connection ends when all is written and the peer has ended, too. */
void ws_conn_mute(lua_State *L, ws_conn_t *conn);
/* Enters Lua: the function and the socket are on the coroutine that is returned; push what else it takes, then run it with
 * the number of all arguments. */
lua_State *ws_conn_call(ws_conn_t *conn, ws_callback_t callback);
static inline void ws_conn_run(const ws_conn_t *conn, int arguments) {
  callback_run_by(conn->group->shared->door, arguments);
}

/* websocket/output.c --------------------------------------------------------------------------------------- */

enum { WS_PIECE = 32 * 1024 }; /* from here on a message is not copied */

/* A message on its way out. */
typedef struct {
  const char *data;
  size_t len;
  int index;      /* of the Lua string that `data` is, or 0 */
  uint8_t opcode; /* WS_TEXT, WS_BINARY, or a control frame's */
  bool fin;
  bool compress;
} ws_message_t;

/* What became of a message. */
typedef enum {
  WS_SENT,
  WS_FULL,    /* taken, and the limit of what may wait is passed */
  WS_DROPPED, /* not taken: it had been passed before */
  WS_CUT      /* not taken: the connection is closed */
} ws_sent_t;

ws_sent_t ws_conn_send(lua_State *L, ws_conn_t *conn, const ws_message_t *message);
/* The same for a message that is only to be put behind what a read has made so far: false where there is more to do. Uses
 * no Lua state. */
bool ws_conn_append_small(ws_conn_t *conn, uint8_t opcode, const char *data, size_t len);
/* A control frame; no limit holds for it. */
void ws_conn_control(lua_State *L, ws_conn_t *conn, uint8_t opcode, const char *data, size_t len);
/* Sends a close frame, if none was sent; WS_NO_STATUS for one without a code. */
void ws_conn_send_close(lua_State *L, ws_conn_t *conn, uint16_t code, const char *reason, size_t len);
/* The answer to a ping: at once, or, while much waits, the last one of them later. */
void ws_conn_pong(lua_State *L, ws_conn_t *conn, const char *data, size_t len);
/* A frame that many connections send: what is published. */
typedef struct {
  const char *data;
  size_t len;
  int index; /* of the Lua string that `data` is, or 0: it lies in the common memory of streams */
} ws_frame_t;
ws_sent_t ws_conn_send_frame(lua_State *L, ws_conn_t *conn, const ws_frame_t *frame);
/* Writes the head of a server's frame; returns its length. */
size_t ws_frame_head(char to[WS_HEAD_MAX], uint8_t first, size_t len);
/* Writes what there is unless parsing goes on, and tells Lua who waited for that; may close the connection. */
void ws_conn_flush(lua_State *L, ws_conn_t *conn);
/* Bytes that wait for the kernel. */
static inline size_t ws_conn_pending(const ws_conn_t *conn) { return stream_pending(&conn->stream); }

/* websocket/sweep.c: all time limits of a group's connections, looked at now and then instead of a timer each. */
void ws_group_sweep(lua_State *L, ws_group_t *group);

/* websocket/topics.c --------------------------------------------------------------------------------------- */

/* The topic's name is at `index`. Joining twice is once. False when memory is out. */
bool ws_topics_join(lua_State *L, ws_conn_t *conn, int index);
void ws_topics_leave(lua_State *L, ws_conn_t *conn, int index);
void ws_topics_leave_all(lua_State *L, ws_conn_t *conn);
/* Pushes a list of the names. */
void ws_topics_push(lua_State *L, const ws_conn_t *conn);
/* Sends to all subscribers of the topic at `index` but `except`; returns to how many. */
uint32_t ws_topics_publish(lua_State *L, ws_group_t *group, int index, const ws_message_t *message,
                           const ws_conn_t *except);

#endif
