/* tls/facts.c: methods of a handle that tell what was agreed upon, and set what is TLS's alone. After the connection's
 * end they return nil. */
#include "tls/certificate.h"
#include "tls/fault.h"
#include "tls/handle.h"

#include <string.h>

/* The connection's SSL, or NULL once it is closed. */
static SSL *ssl_at(lua_State *L) { return tls_handle_at(L, 1)->engine.ssl; }

static int nothing(lua_State *L) {
  lua_pushnil(L);
  return 1;
}

/* Certificates ----------------------------------------------------------------------------------------------------- */

/* The issuer of `certificate`: from what the peer sent, else from the store. The caller frees it. */
static X509 *find_issuer(SSL *ssl, X509 *certificate) {
  const OPENSSL_STACK *sent = (OPENSSL_STACK *)tls_lib.SSL_get_peer_cert_chain(ssl);
  for (int i = 0, n = sent != NULL ? crypto_lib.OPENSSL_sk_num(sent) : 0; i < n; i++) {
    X509 *each = crypto_lib.OPENSSL_sk_value(sent, i);
    if (crypto_lib.X509_check_issued(each, certificate) != X509_V_OK) continue;
    crypto_lib.X509_up_ref(each);
    return each;
  }
  X509 *issuer = NULL;
  X509_STORE *store = tls_lib.SSL_CTX_get_cert_store(tls_lib.SSL_get_SSL_CTX(ssl));
  X509_STORE_CTX *search = crypto_lib.X509_STORE_CTX_new();
  if (search != NULL && crypto_lib.X509_STORE_CTX_init(search, store, NULL, NULL) == 1 &&
      crypto_lib.X509_STORE_CTX_get1_issuer(&issuer, search, certificate) != 1)
    issuer = NULL;
  crypto_lib.X509_STORE_CTX_free(search);
  libcrypto_clear();
  return issuer;
}

/* The table on top gets its issuer as `issuerCertificate`, that one its own, up to the root, which is its own. */
static void add_issuers(lua_State *L, SSL *ssl, X509 *certificate) {
  enum { LONGEST = 16 };
  crypto_lib.X509_up_ref(certificate);
  lua_pushvalue(L, -1);
  for (int i = 0; i < LONGEST; i++) {
    if (crypto_lib.X509_check_issued(certificate, certificate) == X509_V_OK) {
      lua_pushvalue(L, -1);
      lua_setfield(L, -2, "issuerCertificate");
      break;
    }
    X509 *issuer = find_issuer(ssl, certificate);
    if (issuer == NULL) break;
    crypto_lib.X509_free(certificate);
    certificate = issuer;
    tls_certificate_push(L, certificate);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "issuerCertificate");
    lua_remove(L, -2);
  }
  lua_pop(L, 1);
  crypto_lib.X509_free(certificate);
}

/* peerCertificate(detailed) → table, empty where the peer has shown none; nil once a connection without one is closed */
static int l_peer_certificate(lua_State *L) {
  SSL *ssl = ssl_at(L);
  X509 *certificate = ssl != NULL ? tls_lib.SSL_get0_peer_certificate(ssl) : tls_handle_at(L, 1)->peer;
  if (certificate == NULL && ssl == NULL) return nothing(L);
  if (certificate == NULL) {
    lua_newtable(L);
    return 1;
  }
  tls_certificate_push(L, certificate);
  if (ssl != NULL && lua_toboolean(L, 2)) add_issuers(L, ssl, certificate);
  return 1;
}

/* certificate() → our own, or an empty table */
static int l_certificate(lua_State *L) {
  SSL *ssl = ssl_at(L);
  if (ssl == NULL) return nothing(L);
  X509 *certificate = tls_lib.SSL_get_certificate(ssl);
  if (certificate != NULL) tls_certificate_push(L, certificate);
  else lua_newtable(L);
  return 1;
}

/* verification() → the name of why the peer's certificate is not believed, its fault; nil when it is */
static int l_verification(lua_State *L) {
  SSL *ssl = ssl_at(L);
  if (ssl == NULL) return nothing(L);
  const tls_engine_t *e = &tls_handle_at(L, 1)->engine;
  long result = tls_lib.SSL_get_verify_result(ssl);
  if (result == X509_V_OK) return nothing(L);
  tls_fault_t fault = {.verify = (int)result};
  if (e->disbelief != NULL) fault = *e->disbelief;
  lua_pushstring(L, tls_fault_verify_name((int)result));
  tls_fault_push(L, &fault);
  return 2;
}

/* What was agreed upon ----------------------------------------------------------------------------------------------- */

static int l_protocol(lua_State *L) {
  const SSL *ssl = ssl_at(L);
  if (ssl == NULL) return nothing(L);
  const char *name = tls_lib.SSL_get_version(ssl);
  if (strcmp(name, "unknown") == 0) return nothing(L);
  lua_pushstring(L, name);
  return 1;
}

static int l_cipher(lua_State *L) {
  const SSL *ssl = ssl_at(L);
  const SSL_CIPHER *cipher = ssl != NULL ? tls_lib.SSL_get_current_cipher(ssl) : NULL;
  if (ssl == NULL) return nothing(L);
  lua_newtable(L);
  if (cipher == NULL) return 1;
  lua_pushstring(L, tls_lib.SSL_CIPHER_get_name(cipher));
  lua_setfield(L, -2, "name");
  lua_pushstring(L, tls_lib.SSL_CIPHER_standard_name(cipher));
  lua_setfield(L, -2, "standardName");
  lua_pushstring(L, tls_lib.SSL_CIPHER_get_version(cipher));
  lua_setfield(L, -2, "version");
  return 1;
}

/* alpn() → the protocol, or false */
static int l_alpn(lua_State *L) {
  const SSL *ssl = ssl_at(L);
  const unsigned char *name = NULL;
  unsigned len = 0;
  if (ssl != NULL) tls_lib.SSL_get0_alpn_selected(ssl, &name, &len);
  if (len > 0) lua_pushlstring(L, (const char *)name, len);
  else lua_pushboolean(L, 0);
  return 1;
}

/* servername() → at the server what the client asked for, or false */
static int l_servername(lua_State *L) {
  const SSL *ssl = ssl_at(L);
  const char *name = ssl != NULL ? tls_lib.SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) : NULL;
  if (name != NULL) lua_pushstring(L, name);
  else lua_pushboolean(L, 0);
  return 1;
}

static int l_reused(lua_State *L) {
  const SSL *ssl = ssl_at(L);
  lua_pushboolean(L, ssl != NULL && tls_lib.SSL_session_reused(ssl));
  return 1;
}

static bool is_established(lua_State *L) {
  const tls_engine_t *e = &tls_handle_at(L, 1)->engine;
  return e->ssl != NULL && e->established;
}

static int l_established(lua_State *L) {
  lua_pushboolean(L, is_established(L));
  return 1;
}

/* OpenSSL's or NIST's name of a curve → the one that it has in certificates. */
static const char *curve_name(const char *group) {
  static const struct {
    const char *nist, *curve;
  } names[] = {{"P-256", "prime256v1"},
               {"P-384", "secp384r1"},
               {"P-521", "secp521r1"},
               {"x25519", "X25519"},
               {"x448", "X448"}};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (strcmp(names[i].nist, group) == 0) return names[i].curve;
  }
  return group;
}

/* ephemeralKey() → { type, name, size } at a client; an empty table where there is none */
static int l_ephemeral_key(lua_State *L) {
  SSL *ssl = ssl_at(L);
  if (ssl == NULL || tls_lib.SSL_is_server(ssl)) return nothing(L);
  EVP_PKEY *key = NULL;
  lua_newtable(L);
  libcrypto_clear();
  if (tls_lib.SSL_ctrl(ssl, SSL_CTRL_GET_PEER_TMP_KEY, 0, &key) != 1 || key == NULL) return 1;
  int kind = crypto_lib.EVP_PKEY_get_id(key);
  bool dh = kind == EVP_PKEY_DH;
  char group[64] = "";
  if (!dh && crypto_lib.EVP_PKEY_get_group_name(key, group, sizeof group, NULL) != 1 && kind > 0)
    strncpy(group, crypto_lib.OBJ_nid2sn(kind), sizeof group - 1);
  lua_pushstring(L, dh ? "DH" : "ECDH");
  lua_setfield(L, -2, "type");
  if (!dh) {
    lua_pushstring(L, curve_name(group));
    lua_setfield(L, -2, "name");
  }
  lua_pushinteger(L, crypto_lib.EVP_PKEY_get_bits(key));
  lua_setfield(L, -2, "size");
  crypto_lib.EVP_PKEY_free(key);
  return 1;
}

/* Finished messages; nil before they were there. */
static int push_finished(lua_State *L, size_t (*get)(const SSL *, void *, size_t)) {
  unsigned char message[EVP_MAX_MD_SIZE];
  size_t len = is_established(L) ? get(ssl_at(L), message, sizeof message) : 0;
  if (len == 0) return nothing(L);
  lua_pushlstring(L, (const char *)message, len < sizeof message ? len : sizeof message);
  return 1;
}
static int l_finished(lua_State *L) { return push_finished(L, tls_lib.SSL_get_finished); }
static int l_peer_finished(lua_State *L) { return push_finished(L, tls_lib.SSL_get_peer_finished); }

/* export(length, label, context or nil) → bytes; or nil and a fault */
static int l_export(lua_State *L) {
  size_t len = (size_t)luaL_checkinteger(L, 2), label_len, context_len = 0;
  const char *label = luaL_checklstring(L, 3, &label_len);
  const unsigned char *context = (const unsigned char *)lua_tolstring(L, 4, &context_len);
  if (!is_established(L)) return nothing(L);
  unsigned char *to = lua_newuserdata(L, len);
  libcrypto_clear();
  if (tls_lib.SSL_export_keying_material(ssl_at(L), to, len, label, label_len, context, context_len,
                                         context != NULL) != 1)
    return tls_fault_return(L);
  lua_pushlstring(L, (const char *)to, len);
  return 1;
}

/* ocspResponse() → what the server has sent with its certificate, or nil */
static int l_ocsp_response(lua_State *L) {
  const tls_engine_t *e = &tls_handle_at(L, 1)->engine;
  if (!e->ocsp_received) return nothing(L);
  lua_pushlstring(L, e->ocsp.data, e->ocsp.len);
  return 1;
}

/* firstBytes() → up to 8 bytes that the peer has said first */
static int l_first_bytes(lua_State *L) {
  const tls_engine_t *e = &tls_handle_at(L, 1)->engine;
  lua_pushlstring(L, (const char *)e->first, e->first_len);
  return 1;
}

/* Sessions ------------------------------------------------------------------------------------------------------- */

/* session() → serialized, or nil */
static int l_session(lua_State *L) {
  const SSL *ssl = ssl_at(L);
  SSL_SESSION *session = ssl != NULL ? tls_lib.SSL_get_session(ssl) : NULL;
  unsigned char *bytes = NULL;
  int len = session != NULL ? tls_lib.i2d_SSL_SESSION(session, &bytes) : 0;
  if (len > 0) lua_pushlstring(L, (const char *)bytes, (size_t)len);
  else lua_pushnil(L);
  libcrypto_free(bytes);
  return 1;
}

/* sessionId() → of the session in use */
static int l_session_id(lua_State *L) {
  const SSL *ssl = ssl_at(L);
  const SSL_SESSION *session = ssl != NULL ? tls_lib.SSL_get_session(ssl) : NULL;
  unsigned len = 0;
  const unsigned char *id = session != NULL ? tls_lib.SSL_SESSION_get_id(session, &len) : NULL;
  lua_pushlstring(L, (const char *)id, len);
  return 1;
}

static int l_ticket(lua_State *L) {
  const SSL *ssl = ssl_at(L);
  const SSL_SESSION *session = ssl != NULL ? tls_lib.SSL_get_session(ssl) : NULL;
  const unsigned char *ticket = NULL;
  size_t len = 0;
  if (session != NULL) tls_lib.SSL_SESSION_get0_ticket(session, &ticket, &len);
  if (len > 0) lua_pushlstring(L, (const char *)ticket, len);
  else lua_pushnil(L);
  return 1;
}

/* setSession(bytes) → whether they are a session */
static int l_set_session(lua_State *L) {
  SSL *ssl = ssl_at(L);
  size_t len;
  const unsigned char *bytes = (const unsigned char *)luaL_checklstring(L, 2, &len);
  libcrypto_clear();
  SSL_SESSION *session = ssl != NULL ? tls_lib.d2i_SSL_SESSION(NULL, &bytes, (long)len) : NULL;
  bool good = session != NULL && tls_lib.SSL_set_session(ssl, session) == 1;
  tls_lib.SSL_SESSION_free(session);
  libcrypto_clear();
  lua_pushboolean(L, good);
  return 1;
}

/* Settings --------------------------------------------------------------------------------------------------------- */

static int l_set_servername(lua_State *L) {
  SSL *ssl = ssl_at(L);
  const char *name = luaL_checkstring(L, 2);
  if (ssl != NULL)
    tls_lib.SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, (void *)name);
  return 0;
}

static int l_request_ocsp(lua_State *L) {
  SSL *ssl = ssl_at(L);
  if (ssl != NULL) tls_lib.SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_STATUS_REQ_TYPE, TLSEXT_STATUSTYPE_ocsp, NULL);
  return 0;
}

/* maxSendFragment(bytes) → whether it may be */
static int l_max_send_fragment(lua_State *L) {
  SSL *ssl = ssl_at(L);
  long size = (long)luaL_checkinteger(L, 2);
  lua_pushboolean(L, ssl != NULL && tls_lib.SSL_ctrl(ssl, SSL_CTRL_SET_MAX_SEND_FRAGMENT, size, NULL) == 1);
  return 1;
}

/* renegotiate() → true; or nil and a fault */
static int l_renegotiate(lua_State *L) {
  tls_conn_t *conn = tls_handle_at(L, 1);
  if (!is_established(L) || conn->stream == NULL) return nothing(L);
  libcrypto_clear();
  if (tls_lib.SSL_renegotiate(conn->engine.ssl) != 1) return tls_fault_return(L);
  conn->engine.out = stream_wire(conn->stream);
  conn->engine.renegotiating = true;
  int rc = tls_lib.SSL_do_handshake(conn->engine.ssl);
  if (rc != 1 && tls_lib.SSL_get_error(conn->engine.ssl, rc) != SSL_ERROR_WANT_READ)
    return tls_fault_return(L);
  stream_flush(conn->stream);
  lua_pushboolean(L, 1);
  return 1;
}

const luaL_Reg tls_facts[] = {{"peerCertificate", l_peer_certificate},
                              {"certificate", l_certificate},
                              {"verification", l_verification},
                              {"protocol", l_protocol},
                              {"cipher", l_cipher},
                              {"alpn", l_alpn},
                              {"servername", l_servername},
                              {"reused", l_reused},
                              {"established", l_established},
                              {"ephemeralKey", l_ephemeral_key},
                              {"finished", l_finished},
                              {"peerFinished", l_peer_finished},
                              {"export", l_export},
                              {"ocspResponse", l_ocsp_response},
                              {"firstBytes", l_first_bytes},
                              {"session", l_session},
                              {"sessionId", l_session_id},
                              {"ticket", l_ticket},
                              {"setSession", l_set_session},
                              {"setServername", l_set_servername},
                              {"requestOCSP", l_request_ocsp},
                              {"maxSendFragment", l_max_send_fragment},
                              {"renegotiate", l_renegotiate},
                              {NULL, NULL}};
