/* tls/tickets.c: see tls/tickets.h. */
#include "tls/tickets.h"

#include <stdlib.h>
#include <string.h>

enum { NAME = 16, PART = 16 };

tls_tickets_t *tls_tickets_new(void) {
  tls_tickets_t *ring = calloc(1, sizeof *ring);
  if (ring == NULL) return NULL;
  ring->refs = ring->count = 1;
  if (crypto_lib.RAND_bytes(ring->keys[0], TLS_TICKET_KEY) == 1) return ring;
  free(ring);
  return NULL;
}

tls_tickets_t *tls_tickets_hold(tls_tickets_t *ring) {
  if (ring != NULL) ring->refs++;
  return ring;
}

void tls_tickets_release(tls_tickets_t *ring) {
  if (ring == NULL || --ring->refs > 0) return;
  explicit_bzero(ring, sizeof *ring);
  free(ring);
}

void tls_tickets_set(tls_tickets_t *ring, const char *keys, int count) {
  if (count > TLS_TICKET_KEYS) count = TLS_TICKET_KEYS;
  explicit_bzero(ring->keys, sizeof ring->keys);
  memcpy(ring->keys, keys, (size_t)count * TLS_TICKET_KEY);
  ring->count = count;
}

static bool set_mac(EVP_MAC_CTX *mac, const unsigned char *key) {
  char digest[] = "SHA256";
  OSSL_PARAM params[] = {
      crypto_lib.OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(key + NAME), PART),
      crypto_lib.OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
      crypto_lib.OSSL_PARAM_construct_end(),
  };
  return crypto_lib.EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* Fetched once, not looked for with each ticket. */
static const EVP_CIPHER *cipher_of_tickets(void) {
  static EVP_CIPHER *fetched;
  if (fetched == NULL) fetched = crypto_lib.EVP_CIPHER_fetch(NULL, "AES-128-CBC", NULL);
  return fetched;
}

int tls_tickets_seal(const tls_tickets_t *ring, unsigned char name[16], unsigned char *iv,
                     EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac) {
  const unsigned char *key = ring->keys[0];
  memcpy(name, key, NAME);
  if (crypto_lib.RAND_bytes(iv, 16) != 1 || !set_mac(mac, key)) return -1;
  bool good = crypto_lib.EVP_EncryptInit_ex(cipher, cipher_of_tickets(), NULL, key + NAME + PART, iv) == 1;
  return good ? 1 : -1;
}

int tls_tickets_open(const tls_tickets_t *ring, const unsigned char name[16], const unsigned char *iv,
                     EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, bool renew) {
  for (int i = 0; i < ring->count; i++) {
    const unsigned char *key = ring->keys[i];
    if (memcmp(name, key, NAME) != 0) continue;
    if (!set_mac(mac, key)) return -1;
    if (crypto_lib.EVP_DecryptInit_ex(cipher, cipher_of_tickets(), NULL, key + NAME + PART, iv) != 1)
      return -1;
    return renew || i > 0 ? 2 : 1;
  }
  return 0; /* of another server, or too old: a full handshake */
}
