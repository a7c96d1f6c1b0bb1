/* tls/tickets.h: the keys that session tickets are sealed with.
 *
 * A ring holds the key that seals new tickets and two older ones that still open theirs; it is shared by the
 * connections of a server and by all its contexts. A key is 48 bytes: name, HMAC-SHA256 key, AES-128-CBC key, 16
 * each: the form of Node's `ticketKeys`. */
#ifndef LRUN_TLS_TICKETS_H
#define LRUN_TLS_TICKETS_H

#include "tls/library.h"

#include <stddef.h>

enum { TLS_TICKET_KEY = 48, TLS_TICKET_KEYS = 3 };

typedef struct {
  int refs;
  int count;
  unsigned char keys[TLS_TICKET_KEYS][TLS_TICKET_KEY];
} tls_tickets_t;

/* A ring with a key of chance, or NULL. */
tls_tickets_t *tls_tickets_new(void);
tls_tickets_t *tls_tickets_hold(tls_tickets_t *ring);
void tls_tickets_release(tls_tickets_t *ring);
/* `count` keys, the newest first. */
void tls_tickets_set(tls_tickets_t *ring, const char *keys, int count);

/* What a connection's context calls for its ring (SSL_CTX_set_tlsext_ticket_key_evp_cb). */
int tls_tickets_seal(const tls_tickets_t *ring, unsigned char name[16], unsigned char *iv,
                     EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac);
int tls_tickets_open(const tls_tickets_t *ring, const unsigned char name[16], const unsigned char *iv,
                     EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, bool renew);

#endif
