/* websocket/handshake.h: the answer to a handshake's key. */
#ifndef LRUN_WEBSOCKET_HANDSHAKE_H
#define LRUN_WEBSOCKET_HANDSHAKE_H

#include <stddef.h>
#include <stdint.h>

enum { WS_DIGEST = 20 };

/* SHA-1 (FIPS 180-4) of what a program gives by itself: it proves nothing but that the peer speaks this protocol. */
void ws_sha1(const char *data, size_t len, uint8_t digest[WS_DIGEST]);

#endif
