/* tls/engine.c: see tls/engine.h: the steps of a connection. OpenSSL's questions are answered in tls/callbacks.c. */
#include "tls/engine.h"

#include "tls/bio.h"
#include <stdlib.h>
#include <string.h>
#include <uv.h>

tls_policy_t *tls_policy_hold(tls_policy_t *policy) {
  policy->refs++;
  return policy;
}

void tls_policy_release(tls_policy_t *policy) {
  if (policy == NULL || --policy->refs > 0) return;
  tls_tickets_release(policy->tickets);
  free(policy->alpn);
  free(policy);
}

static int verify_mode(const tls_policy_t *policy, bool server) {
  if (!server) return SSL_VERIFY_PEER;
  if (!policy->request_cert) return SSL_VERIFY_NONE;
  return SSL_VERIFY_PEER | (policy->reject ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
}

int tls_engine_open(tls_engine_t *e, SSL_CTX *context, tls_policy_t *policy, bool server) {
  libcrypto_clear();
  SSL *ssl = tls_lib.SSL_new(context);
  BIO *bio = ssl != NULL ? tls_bio_new(e) : NULL;
  if (bio == NULL) {
    tls_lib.SSL_free(ssl);
    return UV_ENOMEM;
  }
  tls_lib.SSL_set_bio(ssl, bio, bio);
  tls_lib.SSL_set_ex_data(ssl, 0, e);
  tls_lib.SSL_set_verify(ssl, verify_mode(policy, server), NULL);
  if (server) tls_lib.SSL_set_accept_state(ssl);
  else tls_lib.SSL_set_connect_state(ssl);
  if (!server)
    tls_lib.SSL_set_session_id_context(ssl, (const unsigned char *)"", 0); /* is a server's affair */
  if (!server && policy->alpn_len > 0)
    tls_lib.SSL_set_alpn_protos(ssl, policy->alpn, (unsigned)policy->alpn_len);
  e->ssl = ssl;
  e->policy = tls_policy_hold(policy);
  return 0;
}

void tls_engine_close(tls_engine_t *e) {
  if (e->ssl == NULL) return;
  tls_lib.SSL_free(e->ssl);
  e->ssl = NULL;
  tls_policy_release(e->policy);
  e->policy = NULL;
  buffer_t *buffers[] = {&e->held, &e->sessions, &e->keys, &e->offered, &e->ocsp, &e->chosen};
  for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) buffer_free(buffers[i]);
  free(e->disbelief);
  free(e->hello);
  e->disbelief = NULL;
  e->hello = NULL;
  e->in = NULL;
  e->in_len = 0;
}

int tls_engine_feed(tls_engine_t *e, const char *data, size_t len) {
  size_t room = sizeof e->first - e->first_len;
  if (room > len) room = len;
  memcpy(e->first + e->first_len, data, room);
  e->first_len += (uint8_t)room;
  if (e->held.len > 0) {
    if (buffer_add(&e->held, data, len) < 0) return UV_ENOMEM;
    data = e->held.data;
    len = e->held.len;
  }
  e->in = data;
  e->in_len = len;
  return 0;
}

int tls_engine_rest(tls_engine_t *e) {
  int rc = 0;
  if (e->in_len == 0) {
    buffer_free(&e->held);
  } else if (e->held.len > 0) {
    memmove(e->held.data, e->in, e->in_len);
    e->held.len = e->in_len;
  } else {
    rc = buffer_add(&e->held, e->in, e->in_len);
  }
  e->in = NULL;
  e->in_len = 0;
  return rc;
}

static tls_step_t fail(tls_engine_t *e) {
  e->error = crypto_lib.ERR_peek_error();
  libcrypto_clear();
  if (e->disbelief != NULL && ERR_GET_LIB(e->error) == ERR_LIB_SSL &&
      ERR_GET_REASON(e->error) == SSL_R_CERTIFICATE_VERIFY_FAILED)
    e->error = 0;
  return TLS_FAILED;
}

void tls_engine_fault(const tls_engine_t *e, tls_fault_t *fault) {
  if (e->error == 0 && e->disbelief != NULL) *fault = *e->disbelief;
  else *fault = (tls_fault_t){.error = e->error};
}

/* What a call that did not succeed means. */
static tls_step_t outcome(tls_engine_t *e, int rc) {
  switch (tls_lib.SSL_get_error(e->ssl, rc)) {
  case SSL_ERROR_WANT_READ: return TLS_WANT;
  case SSL_ERROR_WANT_CLIENT_HELLO_CB: return TLS_ASK;
  case SSL_ERROR_ZERO_RETURN: return TLS_ENDED;
  default: return fail(e);
  }
}

/* A session that was resumed brings what was found out about the peer when it was made, perhaps by one who did not
 * mind. */
static bool is_believed(tls_engine_t *e) {
  bool server = tls_lib.SSL_is_server(e->ssl);
  if (!e->policy->reject || (server && !e->policy->request_cert)) return true;
  if (tls_lib.SSL_get0_peer_certificate(e->ssl) == NULL) {
    e->error = ERR_PACK(ERR_LIB_SSL, 0, SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE);
    return false;
  }
  long result = tls_lib.SSL_get_verify_result(e->ssl);
  if (result == X509_V_OK) return true;
  if (e->disbelief == NULL) e->disbelief = calloc(1, sizeof *e->disbelief);
  if (e->disbelief != NULL && e->disbelief->verify == X509_V_OK) {
    e->disbelief->verify = (int)result;
    strcpy(e->disbelief->subject, "of a resumed session");
  }
  return false;
}

tls_step_t tls_engine_handshake(tls_engine_t *e) {
  libcrypto_clear();
  int rc = tls_lib.SSL_do_handshake(e->ssl);
  if (rc != 1) return outcome(e, rc);
  if (!is_believed(e)) return TLS_FAILED;
  e->established = true;
  free(e->hello);
  e->hello = NULL;
  return TLS_DONE;
}

/* Another context brings its own authorities, too. */
static bool use_context(SSL *ssl, SSL_CTX *context) {
  if (tls_lib.SSL_set_SSL_CTX(ssl, context) == NULL) return false;
  X509_STORE *store = tls_lib.SSL_CTX_get_cert_store(context);
  if (tls_lib.SSL_ctrl(ssl, SSL_CTRL_SET_VERIFY_CERT_STORE, 1, store) != 1) return false;
  STACK_OF(X509_NAME) *names = tls_lib.SSL_dup_CA_list(tls_lib.SSL_CTX_get_client_CA_list(context));
  tls_lib.SSL_set_client_CA_list(ssl, names);
  return true;
}

bool tls_engine_answer(tls_engine_t *e, SSL_CTX *context) {
  if (context != NULL && !use_context(e->ssl, context)) return false;
  e->answered = true;
  return true;
}

void tls_engine_refuse(tls_engine_t *e, int alert) {
  e->alert = (uint8_t)alert;
  e->answered = true;
}

size_t tls_engine_read(tls_engine_t *e, char *to, size_t size, tls_step_t *step) {
  libcrypto_clear();
  int n = tls_lib.SSL_read(e->ssl, to, size > INT32_MAX ? INT32_MAX : (int)size);
  *step = n > 0 ? TLS_DONE : outcome(e, n);
  return n > 0 ? (size_t)n : 0;
}

tls_step_t tls_engine_write(tls_engine_t *e, const char *data, size_t len) {
  enum { MOST = 1 << 20 };
  while (len > 0) {
    int n = len > MOST ? MOST : (int)len;
    libcrypto_clear();
    int rc = tls_lib.SSL_write(e->ssl, data, n);
    if (rc != n) return outcome(e, rc);
    data += n;
    len -= (size_t)n;
  }
  return TLS_DONE;
}

void tls_engine_farewell(tls_engine_t *e) {
  libcrypto_clear();
  if (tls_lib.SSL_is_init_finished(e->ssl)) tls_lib.SSL_shutdown(e->ssl);
  libcrypto_clear();
}
