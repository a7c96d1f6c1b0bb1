/* http/lines.h: the lines of a head or a trailer section. */
#ifndef LRUN_HTTP_LINES_H
#define LRUN_HTTP_LINES_H

#include "http/message.h"

/* Judges the complete lines of `text` from p->line on. HTTP_EV_HEAD: the empty line was found, *size is the length with
 * it; HTTP_EV_MORE: not yet. */
http_event_kind_t http_scan_lines(http_parser_t *p, const char *text, size_t len, size_t *size);

#endif
