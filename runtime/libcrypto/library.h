/* libcrypto/library.h: libcrypto, opened when TLS or a digest, cipher or key is first asked for.
 *
 * Every function of its that lrun calls is a pointer in one table, `crypto_lib`: crypto_lib.EVP_sha256(). So a
 * program without any pays nothing, and security updates of the system reach lrun. Macros of OpenSSL's headers
 * that call functions cannot be used; what they stand for (BIO_ctrl and the like) can. The CMake option
 * LRUN_LINK_OPENSSL fills the table from a linked library instead. */
#ifndef LRUN_LIBCRYPTO_LIBRARY_H
#define LRUN_LIBCRYPTO_LIBRARY_H

#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/ec.h>
#include <openssl/encoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stddef.h>

#define CRYPTO_LIBRARY(X)                                                                                    \
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
  X(BN_bin2bn)                                                                                               \
  X(BN_bn2binpad)                                                                                            \
  X(BN_bn2hex)                                                                                               \
  X(BN_free)                                                                                                 \
  X(BN_new)                                                                                                  \
  X(BN_set_word)                                                                                             \
  X(CRYPTO_free)                                                                                             \
  X(CRYPTO_get_ex_new_index)                                                                                 \
  X(CRYPTO_malloc)                                                                                           \
  X(CRYPTO_memcmp)                                                                                           \
  X(CRYPTO_set_mem_functions)                                                                                \
  X(ECDSA_SIG_free)                                                                                          \
  X(ECDSA_SIG_get0)                                                                                          \
  X(ECDSA_SIG_new)                                                                                           \
  X(ECDSA_SIG_set0)                                                                                          \
  X(EC_get_builtin_curves)                                                                                   \
  X(ERR_clear_error)                                                                                         \
  X(ERR_error_string_n)                                                                                      \
  X(ERR_get_error_all)                                                                                       \
  X(ERR_lib_error_string)                                                                                    \
  X(ERR_peek_error)                                                                                          \
  X(ERR_peek_last_error)                                                                                     \
  X(ERR_reason_error_string)                                                                                 \
  X(EVP_CIPHER_CTX_ctrl)                                                                                     \
  X(EVP_CIPHER_CTX_free)                                                                                     \
  X(EVP_CIPHER_CTX_get_key_length)                                                                           \
  X(EVP_CIPHER_CTX_new)                                                                                      \
  X(EVP_CIPHER_CTX_set_flags)                                                                                \
  X(EVP_CIPHER_CTX_set_key_length)                                                                           \
  X(EVP_CIPHER_CTX_set_padding)                                                                              \
  X(EVP_CIPHER_do_all_sorted)                                                                                \
  X(EVP_CIPHER_fetch)                                                                                        \
  X(EVP_CIPHER_free)                                                                                         \
  X(EVP_CIPHER_get0_name)                                                                                    \
  X(EVP_CIPHER_get_block_size)                                                                               \
  X(EVP_CIPHER_get_flags)                                                                                    \
  X(EVP_CIPHER_get_iv_length)                                                                                \
  X(EVP_CIPHER_get_key_length)                                                                               \
  X(EVP_CIPHER_get_mode)                                                                                     \
  X(EVP_CIPHER_get_nid)                                                                                      \
  X(EVP_CipherFinal_ex)                                                                                      \
  X(EVP_CipherInit_ex)                                                                                       \
  X(EVP_CipherUpdate)                                                                                        \
  X(EVP_DecryptInit_ex)                                                                                      \
  X(EVP_Digest)                                                                                              \
  X(EVP_DigestFinalXOF)                                                                                      \
  X(EVP_DigestFinal_ex)                                                                                      \
  X(EVP_DigestInit_ex)                                                                                       \
  X(EVP_DigestSign)                                                                                          \
  X(EVP_DigestSignInit)                                                                                      \
  X(EVP_DigestUpdate)                                                                                        \
  X(EVP_DigestVerify)                                                                                        \
  X(EVP_DigestVerifyInit)                                                                                    \
  X(EVP_EncryptInit_ex)                                                                                      \
  X(EVP_KDF_CTX_free)                                                                                        \
  X(EVP_KDF_CTX_new)                                                                                         \
  X(EVP_KDF_derive)                                                                                          \
  X(EVP_KDF_fetch)                                                                                           \
  X(EVP_KDF_free)                                                                                            \
  X(EVP_MAC_CTX_free)                                                                                        \
  X(EVP_MAC_CTX_new)                                                                                         \
  X(EVP_MAC_CTX_set_params)                                                                                  \
  X(EVP_MAC_fetch)                                                                                           \
  X(EVP_MAC_final)                                                                                           \
  X(EVP_MAC_free)                                                                                            \
  X(EVP_MAC_init)                                                                                            \
  X(EVP_MAC_update)                                                                                          \
  X(EVP_MD_CTX_copy_ex)                                                                                      \
  X(EVP_MD_CTX_free)                                                                                         \
  X(EVP_MD_CTX_new)                                                                                          \
  X(EVP_MD_do_all_sorted)                                                                                    \
  X(EVP_MD_fetch)                                                                                            \
  X(EVP_MD_free)                                                                                             \
  X(EVP_MD_get0_name)                                                                                        \
  X(EVP_MD_get_block_size)                                                                                   \
  X(EVP_MD_get_flags)                                                                                        \
  X(EVP_MD_get_size)                                                                                         \
  X(EVP_PBE_scrypt)                                                                                          \
  X(EVP_PKEY_CTX_free)                                                                                       \
  X(EVP_PKEY_CTX_new_from_name)                                                                              \
  X(EVP_PKEY_CTX_new_from_pkey)                                                                              \
  X(EVP_PKEY_CTX_set1_rsa_keygen_pubexp)                                                                     \
  X(EVP_PKEY_CTX_set_group_name)                                                                             \
  X(EVP_PKEY_CTX_set_params)                                                                                 \
  X(EVP_PKEY_CTX_set_rsa_keygen_bits)                                                                        \
  X(EVP_PKEY_CTX_set_rsa_padding)                                                                            \
  X(EVP_PKEY_CTX_set_rsa_pss_saltlen)                                                                        \
  X(EVP_PKEY_CTX_set_signature_md)                                                                           \
  X(EVP_PKEY_eq)                                                                                             \
  X(EVP_PKEY_free)                                                                                           \
  X(EVP_PKEY_generate)                                                                                       \
  X(EVP_PKEY_get0_type_name)                                                                                 \
  X(EVP_PKEY_get1_encoded_public_key)                                                                        \
  X(EVP_PKEY_get_base_id)                                                                                    \
  X(EVP_PKEY_get_bits)                                                                                       \
  X(EVP_PKEY_get_bn_param)                                                                                   \
  X(EVP_PKEY_get_group_name)                                                                                 \
  X(EVP_PKEY_get_id)                                                                                         \
  X(EVP_PKEY_get_size)                                                                                       \
  X(EVP_PKEY_keygen_init)                                                                                    \
  X(EVP_PKEY_sign)                                                                                           \
  X(EVP_PKEY_sign_init)                                                                                      \
  X(EVP_PKEY_up_ref)                                                                                         \
  X(EVP_PKEY_verify)                                                                                         \
  X(EVP_PKEY_verify_init)                                                                                    \
  X(EVP_get_cipherbyname)                                                                                    \
  X(EVP_get_digestbyname)                                                                                    \
  X(EVP_sha1)                                                                                                \
  X(EVP_sha256)                                                                                              \
  X(EVP_sha512)                                                                                              \
  X(GENERAL_NAMES_free)                                                                                      \
  X(OBJ_nid2ln)                                                                                              \
  X(OBJ_nid2sn)                                                                                              \
  X(OBJ_obj2nid)                                                                                             \
  X(OBJ_obj2txt)                                                                                             \
  X(OBJ_sn2nid)                                                                                              \
  X(OCSP_RESPONSE_free)                                                                                      \
  X(OPENSSL_cleanse)                                                                                         \
  X(OPENSSL_init_crypto)                                                                                     \
  X(OPENSSL_sk_free)                                                                                         \
  X(OPENSSL_sk_new_null)                                                                                     \
  X(OPENSSL_sk_num)                                                                                          \
  X(OPENSSL_sk_pop_free)                                                                                     \
  X(OPENSSL_sk_push)                                                                                         \
  X(OPENSSL_sk_value)                                                                                        \
  X(OSSL_DECODER_CTX_free)                                                                                   \
  X(OSSL_DECODER_CTX_new_for_pkey)                                                                           \
  X(OSSL_DECODER_CTX_set_pem_password_cb)                                                                    \
  X(OSSL_DECODER_from_data)                                                                                  \
  X(OSSL_ENCODER_CTX_free)                                                                                   \
  X(OSSL_ENCODER_CTX_new_for_pkey)                                                                           \
  X(OSSL_ENCODER_CTX_set_cipher)                                                                             \
  X(OSSL_ENCODER_CTX_set_passphrase)                                                                         \
  X(OSSL_ENCODER_to_data)                                                                                    \
  X(OSSL_PARAM_construct_end)                                                                                \
  X(OSSL_PARAM_construct_int)                                                                                \
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
  X(PKCS5_PBKDF2_HMAC)                                                                                       \
  X(RAND_bytes)                                                                                              \
  X(X509_CRL_free)                                                                                           \
  X(X509_LOOKUP_ctrl)                                                                                        \
  X(X509_LOOKUP_hash_dir)                                                                                    \
  X(X509_NAME_ENTRY_get_data)                                                                                \
  X(X509_NAME_ENTRY_get_object)                                                                              \
  X(X509_NAME_entry_count)                                                                                   \
  X(X509_NAME_get_entry)                                                                                     \
  X(X509_NAME_oneline)                                                                                       \
  X(X509_STORE_CTX_free)                                                                                     \
  X(X509_STORE_CTX_get0_store)                                                                               \
  X(X509_STORE_CTX_get1_issuer)                                                                              \
  X(X509_STORE_CTX_get_current_cert)                                                                         \
  X(X509_STORE_CTX_get_error)                                                                                \
  X(X509_STORE_CTX_get_error_depth)                                                                          \
  X(X509_STORE_CTX_get_ex_data)                                                                              \
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
  X(d2i_ECDSA_SIG)                                                                                           \
  X(d2i_OCSP_RESPONSE)                                                                                       \
  X(d2i_PKCS12)                                                                                              \
  X(i2d_ECDSA_SIG)                                                                                           \
  X(i2d_PUBKEY)                                                                                              \
  X(i2d_X509)

typedef struct {
#define CRYPTO_LIBRARY_FIELD(name)                                                                           \
  __typeof__(name) *name; /* NOLINT(bugprone-macro-parentheses): a declaration */
  CRYPTO_LIBRARY(CRYPTO_LIBRARY_FIELD)
#undef CRYPTO_LIBRARY_FIELD
} libcrypto_t;

extern libcrypto_t crypto_lib;

/* Opens libcrypto once; NULL, or what is wrong. May be tried again after a failure. */
const char *libcrypto_open(void);

/* Where a function goes in a table of pointers. */
typedef struct {
  const char *name;
  size_t offset;
} libcrypto_symbol_t;

/* Opens one of OpenSSL's libraries by its file's name and fills a table with its functions; NULL, or what is wrong. */
const char *libcrypto_open_file(const char *file, void *table, const libcrypto_symbol_t *symbols,
                                size_t count);

/* Before every call whose error will be asked for: what an earlier one left must not be taken for its. */
static inline void libcrypto_clear(void) {
  if (crypto_lib.ERR_peek_error() != 0) crypto_lib.ERR_clear_error(); /* to look costs less than to clear */
}

/* OPENSSL_free without its macro. */
static inline void libcrypto_free(void *memory) { crypto_lib.CRYPTO_free(memory, __FILE__, __LINE__); }

#endif
