/* tls/library.h: libssl, opened when TLS is first asked for, as libcrypto/library.h opens libcrypto. Its functions are
 * the pointers in `tls_lib`: tls_lib.SSL_read(...). */
#ifndef LRUN_TLS_LIBRARY_H
#define LRUN_TLS_LIBRARY_H

#include "libcrypto/library.h"

#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define TLS_LIBRARY_SSL(X)                                                                                   \
  X(SSL_CIPHER_get_name)                                                                                     \
  X(SSL_CIPHER_get_version)                                                                                  \
  X(SSL_CIPHER_standard_name)                                                                                \
  X(SSL_CTX_add_client_CA)                                                                                   \
  X(SSL_CTX_clear_options)                                                                                   \
  X(SSL_CTX_ctrl)                                                                                            \
  X(SSL_CTX_callback_ctrl)                                                                                   \
  X(SSL_CTX_free)                                                                                            \
  X(SSL_CTX_get0_certificate)                                                                                \
  X(SSL_CTX_get_cert_store)                                                                                  \
  X(SSL_CTX_get_ciphers)                                                                                     \
  X(SSL_CTX_new)                                                                                             \
  X(SSL_CTX_sess_set_get_cb)                                                                                 \
  X(SSL_CTX_sess_set_new_cb)                                                                                 \
  X(SSL_CTX_set0_tmp_dh_pkey)                                                                                \
  X(SSL_CTX_set1_cert_store)                                                                                 \
  X(SSL_CTX_set_alpn_select_cb)                                                                              \
  X(SSL_CTX_set_cert_store)                                                                                  \
  X(SSL_CTX_set_cert_verify_callback)                                                                        \
  X(SSL_CTX_set_cipher_list)                                                                                 \
  X(SSL_CTX_set_ciphersuites)                                                                                \
  X(SSL_CTX_set_client_hello_cb)                                                                             \
  X(SSL_CTX_set_info_callback)                                                                               \
  X(SSL_CTX_set_keylog_callback)                                                                             \
  X(SSL_CTX_set_num_tickets)                                                                                 \
  X(SSL_CTX_set_options)                                                                                     \
  X(SSL_CTX_set_session_id_context)                                                                          \
  X(SSL_CTX_set_timeout)                                                                                     \
  X(SSL_CTX_set_tlsext_ticket_key_evp_cb)                                                                    \
  X(SSL_CTX_set_verify)                                                                                      \
  X(SSL_CTX_up_ref)                                                                                          \
  X(SSL_CTX_use_cert_and_key)                                                                                \
  X(SSL_SESSION_free)                                                                                        \
  X(SSL_SESSION_get0_ticket)                                                                                 \
  X(SSL_SESSION_get_id)                                                                                      \
  X(SSL_SESSION_is_resumable)                                                                                \
  X(SSL_client_hello_get0_ext)                                                                               \
  X(SSL_client_hello_get0_session_id)                                                                        \
  X(SSL_ctrl)                                                                                                \
  X(SSL_do_handshake)                                                                                        \
  X(SSL_export_keying_material)                                                                              \
  X(SSL_free)                                                                                                \
  X(SSL_get0_alpn_selected)                                                                                  \
  X(SSL_get0_peer_certificate)                                                                               \
  X(SSL_get1_peer_certificate)                                                                               \
  X(SSL_get_certificate)                                                                                     \
  X(SSL_get_current_cipher)                                                                                  \
  X(SSL_get_error)                                                                                           \
  X(SSL_get_ex_data)                                                                                         \
  X(SSL_get_finished)                                                                                        \
  X(SSL_get_peer_cert_chain)                                                                                 \
  X(SSL_get_peer_finished)                                                                                   \
  X(SSL_get_servername)                                                                                      \
  X(SSL_get_SSL_CTX)                                                                                         \
  X(SSL_get_session)                                                                                         \
  X(SSL_version)                                                                                             \
  X(SSL_dup_CA_list)                                                                                         \
  X(SSL_set_client_CA_list)                                                                                  \
  X(SSL_CTX_get_client_CA_list)                                                                              \
  X(SSL_CTX_set_ex_data)                                                                                     \
  X(SSL_CTX_get_ex_data)                                                                                     \
  X(SSL_get_shutdown)                                                                                        \
  X(SSL_get_verify_result)                                                                                   \
  X(SSL_get_version)                                                                                         \
  X(SSL_is_init_finished)                                                                                    \
  X(SSL_is_server)                                                                                           \
  X(SSL_new)                                                                                                 \
  X(SSL_pending)                                                                                             \
  X(SSL_read)                                                                                                \
  X(SSL_renegotiate)                                                                                         \
  X(SSL_select_next_proto)                                                                                   \
  X(SSL_session_reused)                                                                                      \
  X(SSL_set_SSL_CTX)                                                                                         \
  X(SSL_set_accept_state)                                                                                    \
  X(SSL_set_alpn_protos)                                                                                     \
  X(SSL_set_bio)                                                                                             \
  X(SSL_set_connect_state)                                                                                   \
  X(SSL_set_ex_data)                                                                                         \
  X(SSL_set_session)                                                                                         \
  X(SSL_set_session_id_context)                                                                              \
  X(SSL_set_shutdown)                                                                                        \
  X(SSL_set_verify)                                                                                          \
  X(SSL_shutdown)                                                                                            \
  X(SSL_write)                                                                                               \
  X(TLS_method)                                                                                              \
  X(d2i_SSL_SESSION)                                                                                         \
  X(i2d_SSL_SESSION)

typedef struct {
#define TLS_LIBRARY_FIELD(name)                                                                              \
  __typeof__(name) *name; /* NOLINT(bugprone-macro-parentheses): a declaration */
  TLS_LIBRARY_SSL(TLS_LIBRARY_FIELD)
#undef TLS_LIBRARY_FIELD
  __typeof__(SSL_get_ex_data_X509_STORE_CTX_idx) *SSL_get_ex_data_X509_STORE_CTX_idx;
} tls_library_t;

extern tls_library_t tls_lib;

/* Opens libcrypto and libssl once; NULL, or what is wrong. May be tried again after a failure. */
const char *tls_library_open(void);

#endif
