/* tls/bio.c: see tls/bio.h. Writing always takes everything, so OpenSSL never has to be told to write again. */
#include "tls/bio.h"

#include <string.h>

static int bio_read(BIO *bio, char *to, int size) {
  tls_engine_t *e = crypto_lib.BIO_get_data(bio);
  crypto_lib.BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
  if (e->in_len == 0) {
    crypto_lib.BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY);
    return -1;
  }
  size_t n = e->in_len < (size_t)size ? e->in_len : (size_t)size;
  memcpy(to, e->in, n);
  e->in += n;
  e->in_len -= n;
  return (int)n;
}

static int bio_write(BIO *bio, const char *data, int len) {
  tls_engine_t *e = crypto_lib.BIO_get_data(bio);
  crypto_lib.BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
  if (len > 0 && buffer_add(e->out, data, (size_t)len) < 0) {
    e->no_memory = true;
    return -1;
  }
  return len;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer) {
  (void)bio, (void)number, (void)pointer;
  return command == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *bio) {
  crypto_lib.BIO_set_init(bio, 1);
  return 1;
}

static BIO_METHOD *method(void) {
  static BIO_METHOD *made;
  if (made != NULL) return made;
  BIO_METHOD *m = crypto_lib.BIO_meth_new(BIO_TYPE_SOURCE_SINK | 127, "lrun");
  if (m == NULL) return NULL;
  crypto_lib.BIO_meth_set_read(m, bio_read);
  crypto_lib.BIO_meth_set_write(m, bio_write);
  crypto_lib.BIO_meth_set_ctrl(m, bio_ctrl);
  crypto_lib.BIO_meth_set_create(m, bio_create);
  return made = m;
}

BIO *tls_bio_new(tls_engine_t *e) {
  const BIO_METHOD *m = method();
  BIO *bio = m != NULL ? crypto_lib.BIO_new(m) : NULL;
  if (bio != NULL) crypto_lib.BIO_set_data(bio, e);
  return bio;
}
