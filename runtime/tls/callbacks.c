/* tls/callbacks.c: what OpenSSL asks of an engine in the middle of a step. None of it enters Lua. */
#include "tls/engine.h"

#include <stdlib.h>
#include <string.h>

static tls_engine_t *engine_of(const SSL *ssl) { return tls_lib.SSL_get_ex_data(ssl, 0); }

/* The client's greeting ---------------------------------------------------------------------------------------- */

/* The first host name of a server_name extension: list length, kind 0, length, name. */
static const unsigned char *find_name(SSL *ssl, size_t *len) {
  const unsigned char *data;
  size_t size;
  *len = 0;
  if (tls_lib.SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &data, &size) != 1) return NULL;
  if (size < 5 || data[2] != TLSEXT_NAMETYPE_host_name) return NULL;
  *len = (size_t)data[3] << 8 | data[4];
  return *len > 0 && *len <= 255 && *len <= size - 5 ? data + 5 : NULL;
}

/* The list of protocols without its own length. */
static const unsigned char *find_alpn(SSL *ssl, size_t *len) {
  const unsigned char *data;
  size_t size;
  *len = 0;
  if (tls_lib.SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &data,
                                        &size) != 1)
    return NULL;
  if (size < 2) return NULL;
  *len = size - 2;
  return data + 2;
}

static bool asks_ocsp(SSL *ssl) {
  const unsigned char *data;
  size_t size;
  return tls_lib.SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_status_request, &data, &size) == 1 && size > 0 &&
         data[0] == TLSEXT_STATUSTYPE_ocsp;
}

/* Keeps what the program has to decide about; false when there is nothing. */
static bool keep_hello(SSL *ssl, tls_engine_t *e) {
  const tls_policy_t *policy = e->policy;
  size_t name_len, alpn_len;
  const unsigned char *session = NULL;
  const unsigned char *name = find_name(ssl, &name_len), *alpn = find_alpn(ssl, &alpn_len);
  size_t session_len = tls_lib.SSL_client_hello_get0_session_id(ssl, &session);
  bool ocsp = policy->ask_ocsp && asks_ocsp(ssl);
  bool asks = (policy->ask_name && name != NULL) || (policy->ask_alpn && alpn != NULL) ||
              (policy->ask_session && session_len > 0) || ocsp;
  if (!asks) return false;
  tls_hello_t *hello = malloc(sizeof *hello + name_len + alpn_len + session_len);
  if (hello == NULL) return false;
  *hello = (tls_hello_t){.named = name != NULL, .has_alpn = alpn != NULL, .ocsp = ocsp};
  hello->name_len = name != NULL ? name_len : 0;
  hello->alpn_len = alpn_len;
  hello->session_len = session_len;
  if (name != NULL) memcpy(hello->bytes, name, name_len);
  if (alpn != NULL && alpn_len > 0) memcpy(hello->bytes + hello->name_len, alpn, alpn_len);
  if (session_len > 0) memcpy(hello->bytes + hello->name_len + alpn_len, session, session_len);
  free(e->hello);
  e->hello = hello;
  return true;
}

static int on_hello(SSL *ssl, int *alert, void *arg) {
  (void)arg;
  tls_engine_t *e = engine_of(ssl);
  if (e == NULL || e->answered) {
    if (e == NULL || e->alert == 0) return SSL_CLIENT_HELLO_SUCCESS;
    *alert = e->alert;
    return SSL_CLIENT_HELLO_ERROR;
  }
  if (!e->asked) {
    if (!keep_hello(ssl, e)) return SSL_CLIENT_HELLO_SUCCESS;
    e->asked = true;
  }
  return SSL_CLIENT_HELLO_RETRY;
}

/* A name was given: it is acknowledged, and kept with the session. */
static int on_name(SSL *ssl, int *alert, void *arg) {
  (void)alert, (void)arg;
  return tls_lib.SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) != NULL ? SSL_TLSEXT_ERR_OK
                                                                            : SSL_TLSEXT_ERR_NOACK;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                   unsigned in_len, void *arg) {
  (void)arg;
  const tls_engine_t *e = engine_of(ssl);
  if (e == NULL) return SSL_TLSEXT_ERR_NOACK;
  if (e->choose_alpn) {
    if (e->chosen.len < 2) return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = (unsigned char *)e->chosen.data + 1;
    *out_len = (unsigned char)(e->chosen.len - 1);
    return SSL_TLSEXT_ERR_OK;
  }
  const tls_policy_t *policy = e->policy;
  if (policy->alpn_len == 0) return SSL_TLSEXT_ERR_NOACK;
  unsigned char *found;
  int rc =
      tls_lib.SSL_select_next_proto(&found, out_len, policy->alpn, (unsigned)policy->alpn_len, in, in_len);
  *out = found;
  return rc == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* OCSP --------------------------------------------------------------------------------------------------------- */

typedef struct {
  size_t len;
  unsigned char bytes[];
} staple_t;

static void free_staple(void *parent, void *staple, CRYPTO_EX_DATA *data, int index, long number,
                        void *pointer) {
  (void)parent, (void)data, (void)index, (void)number, (void)pointer;
  free(staple);
}

/* Where a context keeps its staple. */
static int staple_index(void) {
  static int index = -1;
  if (index < 0)
    index = crypto_lib.CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL_CTX, 0, NULL, NULL, NULL, free_staple);
  return index;
}

bool tls_engine_staple(SSL_CTX *context, const char *response, size_t len) {
  int index = staple_index();
  if (index < 0) return false;
  staple_t *staple = NULL;
  if (response != NULL) {
    staple = malloc(sizeof *staple + len);
    if (staple == NULL) return false;
    staple->len = len;
    memcpy(staple->bytes, response, len);
  }
  free(tls_lib.SSL_CTX_get_ex_data(context, index));
  return tls_lib.SSL_CTX_set_ex_data(context, index, staple) == 1;
}

static int send_staple(SSL *ssl, const void *bytes, size_t len) {
  void *copy = crypto_lib.CRYPTO_malloc(len, __FILE__, __LINE__);
  if (copy == NULL) return SSL_TLSEXT_ERR_NOACK;
  memcpy(copy, bytes, len);
  tls_lib.SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_STATUS_REQ_OCSP_RESP, (long)len, copy); /* owns it */
  return SSL_TLSEXT_ERR_OK;
}

static int on_status(SSL *ssl, void *arg) {
  (void)arg;
  tls_engine_t *e = engine_of(ssl);
  if (e == NULL) return SSL_TLSEXT_ERR_NOACK;
  if (tls_lib.SSL_is_server(ssl)) {
    if (e->ocsp.len > 0) return send_staple(ssl, e->ocsp.data, e->ocsp.len);
    const staple_t *staple = tls_lib.SSL_CTX_get_ex_data(tls_lib.SSL_get_SSL_CTX(ssl), staple_index());
    return staple != NULL && staple->len > 0 ? send_staple(ssl, staple->bytes, staple->len)
                                             : SSL_TLSEXT_ERR_NOACK;
  }
  unsigned char *response = NULL;
  long len = tls_lib.SSL_ctrl(ssl, SSL_CTRL_GET_TLSEXT_STATUS_REQ_OCSP_RESP, 0, &response);
  if (response != NULL && len > 0) {
    e->ocsp_received = true;
    e->ocsp.len = 0;
    if (buffer_add(&e->ocsp, (const char *)response, (size_t)len) < 0) e->no_memory = true;
  }
  return 1;
}

/* Sessions ----------------------------------------------------------------------------------------------------- */

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int seal) {
  const tls_engine_t *e = engine_of(ssl);
  if (e == NULL || e->policy->tickets == NULL) return seal ? -1 : 0;
  if (seal) return tls_tickets_seal(e->policy->tickets, name, iv, cipher, mac);
  /* In TLS 1.3 a ticket serves once: without a new one the client could come back only every other time. */
  bool renew = tls_lib.SSL_version(ssl) == TLS1_3_VERSION;
  return tls_tickets_open(e->policy->tickets, name, iv, cipher, mac, renew);
}

static int on_new_session(SSL *ssl, SSL_SESSION *session) {
  tls_engine_t *e = engine_of(ssl);
  if (e == NULL || !e->policy->want_sessions) return 0;
  int size = tls_lib.i2d_SSL_SESSION(session, NULL);
  if (size <= 0) return 0;
  uint32_t len = (uint32_t)size;
  unsigned char *to = (unsigned char *)buffer_room(&e->sessions, sizeof len + len);
  if (to == NULL) return 0;
  memcpy(to, &len, sizeof len);
  to += sizeof len;
  tls_lib.i2d_SSL_SESSION(session, &to);
  e->sessions.len += sizeof len + len;
  return 0; /* OpenSSL keeps no reference for us */
}

static SSL_SESSION *on_get_session(SSL *ssl, const unsigned char *id, int len, int *copy) {
  (void)id, (void)len;
  const tls_engine_t *e = engine_of(ssl);
  *copy = 0;
  if (e == NULL || e->offered.len == 0) return NULL;
  const unsigned char *data = (const unsigned char *)e->offered.data;
  return tls_lib.d2i_SSL_SESSION(NULL, &data, (long)e->offered.len);
}

/* Certificates ------------------------------------------------------------------------------------------------- */

/* Goes on behind a fault and keeps the last one, which Node reports. */
static int on_certificate(int good, X509_STORE_CTX *chain) {
  if (good) return 1;
  const SSL *ssl = crypto_lib.X509_STORE_CTX_get_ex_data(chain, tls_lib.SSL_get_ex_data_X509_STORE_CTX_idx());
  tls_engine_t *e = engine_of(ssl);
  if (e->disbelief == NULL) e->disbelief = calloc(1, sizeof *e->disbelief);
  if (e->disbelief == NULL) {
    e->no_memory = true;
    return 0;
  }
  e->disbelief->verify = crypto_lib.X509_STORE_CTX_get_error(chain);
  e->disbelief->depth = crypto_lib.X509_STORE_CTX_get_error_depth(chain);
  X509 *certificate = crypto_lib.X509_STORE_CTX_get_current_cert(chain);
  if (certificate != NULL)
    crypto_lib.X509_NAME_oneline(crypto_lib.X509_get_subject_name(certificate), e->disbelief->subject,
                                 sizeof e->disbelief->subject);
  return 1;
}

static int on_verify(X509_STORE_CTX *chain, void *arg) {
  (void)arg;
  const SSL *ssl = crypto_lib.X509_STORE_CTX_get_ex_data(chain, tls_lib.SSL_get_ex_data_X509_STORE_CTX_idx());
  tls_engine_t *e = engine_of(ssl);
  if (e == NULL) return 0;
  free(e->disbelief);
  e->disbelief = NULL;
  crypto_lib.X509_STORE_CTX_set_verify_cb(chain, on_certificate);
  int rc = crypto_lib.X509_verify_cert(chain);
  int result = e->disbelief != NULL ? e->disbelief->verify : X509_V_OK;
  if (rc <= 0 && result == X509_V_OK) return 0; /* it could not be checked at all */
  crypto_lib.X509_STORE_CTX_set_error(chain, result);
  return result == X509_V_OK || !e->policy->reject;
}

/* The rest ----------------------------------------------------------------------------------------------------- */

static void on_info(const SSL *ssl, int where, int value) {
  tls_engine_t *e = engine_of(ssl);
  if (where == SSL_CB_HANDSHAKE_DONE && e != NULL && e->renegotiating) {
    e->renegotiating = false;
    e->renegotiated = true;
  }
  if (where != SSL_CB_WRITE_ALERT || (value & 0xff) != SSL_AD_NO_RENEGOTIATION) return;
  if (e != NULL && e->refusals < UINT8_MAX) e->refusals++;
}

static void on_key(const SSL *ssl, const char *line) {
  tls_engine_t *e = engine_of(ssl);
  if (e == NULL || !e->policy->want_keys) return;
  if (buffer_add(&e->keys, line, strlen(line)) == 0) buffer_add(&e->keys, "\n", 1);
}

typedef void (*callback_t)(void);

void tls_engine_keylog(SSL_CTX *context) { tls_lib.SSL_CTX_set_keylog_callback(context, on_key); }

void tls_engine_prepare(SSL_CTX *context) {
  tls_lib.SSL_CTX_set_client_hello_cb(context, on_hello, NULL);
  tls_lib.SSL_CTX_callback_ctrl(context, SSL_CTRL_SET_TLSEXT_SERVERNAME_CB, (callback_t)on_name);
  tls_lib.SSL_CTX_callback_ctrl(context, SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB, (callback_t)on_status);
  tls_lib.SSL_CTX_set_alpn_select_cb(context, on_alpn, NULL);
  tls_lib.SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket);
  tls_lib.SSL_CTX_sess_set_new_cb(context, on_new_session);
  tls_lib.SSL_CTX_sess_set_get_cb(context, on_get_session);
  tls_lib.SSL_CTX_set_cert_verify_callback(context, on_verify, NULL);
  tls_lib.SSL_CTX_set_info_callback(context, on_info);
}
