/* http/parser.h: the bytes of one peer as HTTP/1 messages, strictly.
 *
 * Pull, do not wait to be called: give http_parser_next what was received, act on the event, come again with
 * the rest. The same bytes give the same events however they were cut. */
#ifndef LRUN_HTTP_PARSER_H
#define LRUN_HTTP_PARSER_H

#include "http/message.h"

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
