/* tls/bio.h: the BIO between OpenSSL and an engine's input and output. */
#ifndef LRUN_TLS_BIO_H
#define LRUN_TLS_BIO_H

#include "tls/engine.h"

/* A BIO that reads e->in and appends to e->out, or NULL. */
BIO *tls_bio_new(tls_engine_t *e);

#endif
