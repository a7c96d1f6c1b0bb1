/* tls/library.h: libssl and libcrypto, opened when TLS is first asked for.
 *
 * Every function of theirs that lrun calls is a pointer in one table, `tls_lib`: tls_lib.SSL_read(...). So a
 * program without TLS pays nothing, and security updates of the system reach lrun. Macros of OpenSSL's headers
 * that call functions cannot be used; what they stand for (SSL_CTX_ctrl and the like) can. The CMake option
 * LRUN_LINK_OPENSSL fills the table from linked libraries instead. */
#ifndef LRUN_TLS_LIBRARY_H
#define LRUN_TLS_LIBRARY_H

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdbool.h>

#define TLS_LIBRARY_SSL(X)                                                                                   \
  X(OPENSSL_init_ssl)                                                                                        \
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

#define TLS_LIBRARY_CRYPTO(X)                                                                                \
  X(ASN1_INTEGER_to_BN)                                                                                      \
  X(ASN1_OBJECT_free)                                                                                        \
  X(ASN1_STRING_get0_data)                                                                                   \
  X(ASN1_STRING_length)                                                                                      \
  X(ASN1_STRING_to_UTF8)                                                                                     \
  X(ASN1_TIME_print)                                                                                         \
  X(AUTHORITY_INFO_ACCESS_free)                                                                              \
  X(BIO_clear_flags)                                                                                         \
  X(BIO_ctrl)                                                                                                \
  X(BIO_free)                                                                                                \
  X(BIO_get_data)                                                                                            \
  X(BIO_meth_free)                                                                                           \
  X(BIO_meth_new)                                                                                            \
  X(BIO_meth_set_create)                                                                                     \
  X(BIO_meth_set_ctrl)                                                                                       \
  X(BIO_meth_set_read)                                                                                       \
  X(BIO_meth_set_write)                                                                                      \
  X(BIO_new)                                                                                                 \
  X(BIO_new_mem_buf)                                                                                         \
  X(BIO_s_mem)                                                                                               \
  X(BIO_set_data)                                                                                            \
  X(BIO_set_flags)                                                                                           \
  X(BIO_set_init)                                                                                            \
  X(BN_bn2hex)                                                                                               \
  X(BN_free)                                                                                                 \
  X(CRYPTO_free)                                                                                             \
  X(CRYPTO_get_ex_new_index)                                                                                 \
  X(CRYPTO_malloc)                                                                                           \
  X(ERR_clear_error)                                                                                         \
  X(ERR_error_string_n)                                                                                      \
  X(ERR_get_error_all)                                                                                       \
  X(ERR_lib_error_string)                                                                                    \
  X(ERR_peek_error)                                                                                          \
  X(ERR_peek_last_error)                                                                                     \
  X(ERR_reason_error_string)                                                                                 \
  X(EVP_CIPHER_CTX_get_key_length)                                                                           \
  X(EVP_DecryptInit_ex)                                                                                      \
  X(EVP_Digest)                                                                                              \
  X(EVP_EncryptInit_ex)                                                                                      \
  X(EVP_MAC_CTX_set_params)                                                                                  \
  X(EVP_PKEY_eq)                                                                                             \
  X(EVP_PKEY_free)                                                                                           \
  X(EVP_PKEY_get1_encoded_public_key)                                                                        \
  X(EVP_PKEY_get_base_id)                                                                                    \
  X(EVP_PKEY_get_bits)                                                                                       \
  X(EVP_PKEY_get_bn_param)                                                                                   \
  X(EVP_PKEY_get_group_name)                                                                                 \
  X(EVP_PKEY_get_id)                                                                                         \
  X(EVP_aes_128_cbc)                                                                                         \
  X(EVP_sha1)                                                                                                \
  X(EVP_sha256)                                                                                              \
  X(EVP_sha512)                                                                                              \
  X(GENERAL_NAMES_free)                                                                                      \
  X(OBJ_nid2ln)                                                                                              \
  X(OBJ_nid2sn)                                                                                              \
  X(OBJ_obj2nid)                                                                                             \
  X(OBJ_obj2txt)                                                                                             \
  X(OBJ_sn2nid)                                                                                              \
  X(OPENSSL_sk_free)                                                                                         \
  X(OPENSSL_sk_new_null)                                                                                     \
  X(OPENSSL_sk_num)                                                                                          \
  X(OPENSSL_sk_pop_free)                                                                                     \
  X(OPENSSL_sk_push)                                                                                         \
  X(OPENSSL_sk_value)                                                                                        \
  X(OSSL_PARAM_construct_end)                                                                                \
  X(OSSL_PARAM_construct_octet_string)                                                                       \
  X(OSSL_PARAM_construct_utf8_string)                                                                        \
  X(PEM_read_bio_Parameters)                                                                                 \
  X(PEM_read_bio_PrivateKey)                                                                                 \
  X(PEM_read_bio_X509)                                                                                       \
  X(PEM_read_bio_X509_AUX)                                                                                   \
  X(PEM_read_bio_X509_CRL)                                                                                   \
  X(PEM_write_bio_X509)                                                                                      \
  X(PKCS12_free)                                                                                             \
  X(PKCS12_parse)                                                                                            \
  X(RAND_bytes)                                                                                              \
  X(X509_CRL_free)                                                                                           \
  X(X509_LOOKUP_ctrl)                                                                                        \
  X(X509_LOOKUP_hash_dir)                                                                                    \
  X(X509_NAME_ENTRY_get_data)                                                                                \
  X(X509_NAME_ENTRY_get_object)                                                                              \
  X(X509_NAME_entry_count)                                                                                   \
  X(X509_NAME_get_entry)                                                                                     \
  X(X509_NAME_oneline)                                                                                       \
  X(X509_STORE_CTX_get0_store)                                                                               \
  X(X509_STORE_CTX_get1_issuer)                                                                              \
  X(X509_STORE_CTX_get_current_cert)                                                                         \
  X(X509_STORE_CTX_get_error)                                                                                \
  X(X509_STORE_CTX_get_error_depth)                                                                          \
  X(X509_STORE_CTX_get_ex_data)                                                                              \
  X(X509_STORE_CTX_free)                                                                                     \
  X(X509_STORE_CTX_init)                                                                                     \
  X(X509_STORE_CTX_new)                                                                                      \
  X(X509_STORE_CTX_set_error)                                                                                \
  X(X509_STORE_CTX_set_verify_cb)                                                                            \
  X(X509_STORE_add_cert)                                                                                     \
  X(X509_STORE_add_crl)                                                                                      \
  X(X509_STORE_add_lookup)                                                                                   \
  X(X509_STORE_free)                                                                                         \
  X(X509_STORE_new)                                                                                          \
  X(X509_STORE_set_flags)                                                                                    \
  X(X509_STORE_up_ref)                                                                                       \
  X(X509_check_ca)                                                                                           \
  X(X509_check_issued)                                                                                       \
  X(X509_digest)                                                                                             \
  X(X509_free)                                                                                               \
  X(X509_get0_notAfter)                                                                                      \
  X(X509_get0_notBefore)                                                                                     \
  X(X509_get0_pubkey)                                                                                        \
  X(X509_get0_serialNumber)                                                                                  \
  X(X509_get_default_cert_dir)                                                                               \
  X(X509_get_default_cert_file)                                                                              \
  X(X509_get_ext_d2i)                                                                                        \
  X(X509_get_issuer_name)                                                                                    \
  X(X509_get_subject_name)                                                                                   \
  X(X509_up_ref)                                                                                             \
  X(X509_verify_cert)                                                                                        \
  X(X509_verify_cert_error_string)                                                                           \
  X(d2i_PKCS12)                                                                                              \
  X(i2d_PUBKEY)                                                                                              \
  X(i2d_X509)

typedef struct {
#define TLS_LIBRARY_FIELD(name)                                                                              \
  __typeof__(name) *name; /* NOLINT(bugprone-macro-parentheses): a declaration */
  TLS_LIBRARY_SSL(TLS_LIBRARY_FIELD)
  TLS_LIBRARY_CRYPTO(TLS_LIBRARY_FIELD)
#undef TLS_LIBRARY_FIELD
  __typeof__(SSL_get_ex_data_X509_STORE_CTX_idx) *SSL_get_ex_data_X509_STORE_CTX_idx;
} tls_library_t;

extern tls_library_t tls_lib;

/* Opens the libraries once; NULL, or what is wrong. May be tried again after a failure. */
const char *tls_library_open(void);

/* Before every call whose error will be asked for: what an earlier one left must not be taken for its. */
static inline void tls_library_clear(void) {
  if (tls_lib.ERR_peek_error() != 0) tls_lib.ERR_clear_error(); /* to look costs less than to clear */
}

/* OPENSSL_free without its macro. */
static inline void tls_library_free(void *memory) { tls_lib.CRYPTO_free(memory, __FILE__, __LINE__); }

#endif
