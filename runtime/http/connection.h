/* http/connection.h: one HTTP connection on a byte stream, server's or client's side.
 *
 * The connection parses what the stream receives, calls Lua once per head and keeps responses in the order of their
 * requests. It is a Lua userdata; Lua's side of it is a table, `connection`, which keeps it alive while the stream is
 * open. What the stream is, plain or encrypted, and how its bytes reach the kernel, it does not know. */
#ifndef LRUN_HTTP_CONNECTION_H
#define LRUN_HTTP_CONNECTION_H

#include "http/parser.h"
#include "http/shared.h"
#include "io/stream.h"

#include <lua.h>
#include <sys/queue.h>
#include <uv.h>

typedef struct http_conn http_conn_t;
typedef struct http_server http_server_t;
typedef struct http_exchange http_exchange_t;

/* A request that was given to Lua and whose response is not complete. */
struct http_exchange {
  http_exchange_t *next; /* the request after this one */
  uint32_t id;
  uint8_t minor;
  bool head;       /* HEAD: the response has no body */
  bool keep_alive; /* asked for by the client, until the response says otherwise */
  bool last;       /* maxRequestsPerSocket: the response says close, what is here already is still taken */
  bool started;    /* its head was written */
  bool finished;
  bool chunked;
  bool bodyless;
  bool counted; /* `left` says how much of Content-Length is still to be written */
  bool starved; /* its writer was told to wait */
  uint64_t left;
  buffer_t held; /* written before its turn */
};

/* How far a connection is on its way out; it only goes on. */
typedef enum {
  HTTP_OPEN,
  HTTP_LAST,     /* maxRequestsPerSocket was reached: it ends when all that is here is answered */
  HTTP_BODY,     /* all is answered; the rest of the last request's body is still for whoever reads it */
  HTTP_MUTED,    /* nothing more is parsed, what comes is thrown away: a fault, the last request */
  HTTP_ENDING,   /* it closes when all is written */
  HTTP_LINGERING /* our side is shut; the peer gets time to read and to close */
} http_way_t;

struct http_conn {
  stream_t stream; /* first: a stream is cast to its connection */
  http_shared_t *shared;
  http_server_t *server;
  LIST_ENTRY(http_conn) link; /* in the server's list */
  int ref;                    /* registry ref of Lua's table, held while the stream is open */
  int error;                  /* why it was closed, negative, 0 for no error */
  http_parser_t parser;
  buffer_t in;      /* received, and not parsed while parsing waits */
  const char *rest; /* while parsing: the bytes behind the event that Lua handles now */
  size_t rest_len;
  http_exchange_t *first, *last; /* in flight, in order */
  http_exchange_t spare;         /* memory for one of them */
  uint32_t ids;                  /* exchanges begun */
  uint32_t inflight;
  uint32_t body_id;          /* exchange whose body is being received */
  uint32_t done_id, sent_id; /* the last one that is in the output; that the kernel has, with all before */
  uint64_t request_since;    /* ms of loop time: first byte of the message under way */
  uint64_t idle_since;       /* last response done, or connected */
  uint64_t timeout;          /* ms without traffic, 0 for no limit */
  uint64_t timed_out;        /* stream.active when HTTP_ON_TIMEOUT was told: again only after new traffic */
  uint64_t overdue;          /* stream.active when the sweep found that nothing came for a while */
  http_way_t way;
  bool client; /* we ask, the peer answers */
  bool asked;  /* client: a response is to come, or has not come to its end */
  bool spare_used;
  bool parsing;      /* http_conn_parse is on the C stack: output waits for its end */
  bool paused;       /* Lua wants no more body now */
  bool has_body;     /* of the message under way */
  bool dump;         /* the rest of the body interests nobody */
  bool nodelay;      /* was set, or needs not be */
  bool eof;          /* the peer sends nothing more */
  bool surplus;      /* something came behind the last request that is answered, and more may be on its way */
  bool head_request; /* client: the response to come has no body */
  bool unsent;       /* Lua wants to hear (HTTP_ON_DRAIN with 0) when all is written */
};

struct http_server {
  LIST_HEAD(, http_conn) conns;
  http_conn_t *sweep_next; /* where http_server_sweep goes on */
  uint32_t count;
  uint32_t max_head, max_fields;
  uint32_t max_requests; /* per connection, 0 for any number */
  uint64_t headers_timeout, request_timeout, keep_alive_timeout, timeout; /* ms, 0 for none */
  uint64_t closing_since;                                                 /* loop time in ms */
  bool closing; /* no connection is kept alive any more */
};

static inline bool http_conn_is_open(const http_conn_t *conn) { return stream_is_open(&conn->stream); }

/* One step on the way out, or none where it is further already. */
void http_conn_leave(http_conn_t *conn, http_way_t way);

/* There was traffic: time limits count from now. */
static inline void http_conn_touch(http_conn_t *conn) { conn->stream.active = uv_now(conn->shared->loop); }

/* What Lua is told of a head, in one integer; the module exports the numbers. */
enum {
  HTTP_FLAG_BODY = 1,
  HTTP_FLAG_KEEP_ALIVE = 2,
  HTTP_FLAG_MINOR = 4, /* HTTP/1.1 */
  HTTP_FLAG_UPGRADE = 8,
  HTTP_FLAG_EXPECT = 16,
  HTTP_FLAG_EXPECT_100 = 32,
  HTTP_FLAG_LAST = 64 /* maxRequestsPerSocket was passed with this one */
};

/* How many requests of one connection may be in the hands of Lua, and how much output may wait, before
 * reading stops; and where write() starts to return false. */
enum { HTTP_MAX_INFLIGHT = 64, HTTP_MAX_OUTPUT = 256 * 1024, HTTP_HIGH_WATER = 64 * 1024 };

/* What a connection hangs on: a stream that is lent, else a luv handle, else a descriptor. */
typedef struct {
  stream_t *lent;
  uv_stream_t *handle;
  int fd;
} http_transport_t;

/* Lua's table is on top of the stack and is popped. */
void http_conn_attach(lua_State *L, http_conn_t *conn, http_server_t *server,
                      const http_transport_t *transport);
/* Starts to read what a client sends. */
void http_conn_start(lua_State *L, http_conn_t *conn);
/* Starts, or goes on, reading and parsing where nothing speaks against it. */
void http_conn_resume(lua_State *L, http_conn_t *conn);
/* Takes bytes as if they had been read. */
void http_conn_feed(lua_State *L, http_conn_t *conn, const char *data, size_t len);
/* Whether a client's connection is between responses, and nothing came that was not asked for. */
bool http_conn_is_clean(const http_conn_t *conn);
/* Closes the handle now, after what was finished was given to the kernel; safe to repeat. */
void http_conn_close(lua_State *L, http_conn_t *conn, int error);
/* Gives the handle up: what was received and not parsed is in conn->rest while parsing, else in conn->in. */
void http_conn_release(lua_State *L, http_conn_t *conn);
/* What came, or did not come, is refused: the requests before it still get their answers; Lua decides about
 * this one. `parsed` bytes of the data were good. */
void http_conn_fault(http_conn_t *conn, const http_fault_t *fault, const char *data, size_t len,
                     size_t parsed);
/* Enters Lua: the function and the connection are on the coroutine that is returned; push what else it takes, then run it
 * with the number of all arguments. */
lua_State *http_conn_call(http_conn_t *conn, http_callback_t callback);
static inline void http_conn_run(const http_conn_t *conn, int arguments) {
  callback_run_by(conn->shared->door, arguments);
}

/* http/exchange.c */
http_exchange_t *http_exchange_begin(http_conn_t *conn);
http_exchange_t *http_exchange_find(http_conn_t *conn, uint32_t id);
/* Where this exchange's bytes go now. */
buffer_t *http_exchange_buffer(http_conn_t *conn, http_exchange_t *e);
/* The response is complete: the next ones get their turn. */
void http_exchange_end(http_conn_t *conn, http_exchange_t *e);
void http_exchange_drop_all(http_conn_t *conn);
/* The response is given up: those before it are sent, then the connection ends. */
void http_exchange_destroy(lua_State *L, http_conn_t *conn, uint32_t id);
/* Its head says that the connection ends with it. */
void http_exchange_close(http_conn_t *conn, http_exchange_t *e);
/* Output that waits, in bytes. */
static inline size_t http_conn_pending(const http_conn_t *conn) { return stream_pending(&conn->stream); }
/* A response behind another must not wait for the first one's acknowledgement. Before the stream is written to. */
void http_conn_stop_delay(http_conn_t *conn);
/* Writes what there is unless parsing goes on; may close the connection. */
void http_conn_flush(lua_State *L, http_conn_t *conn);

/* http/sweep.c */
void http_server_sweep(lua_State *L, http_server_t *server);

#endif
