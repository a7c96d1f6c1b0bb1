/* tls/certificate.c: see tls/certificate.h. */
#include "tls/certificate.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void set_string(lua_State *L, const char *name, const char *value) {
  lua_pushstring(L, value);
  lua_setfield(L, -2, name);
}

/* Field `name` of the table on top gets the value on top; a second value makes it a list. */
static void add_field(lua_State *L, const char *name) {
  lua_getfield(L, -2, name);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_setfield(L, -2, name);
    return;
  }
  if (!lua_istable(L, -1)) {
    lua_createtable(L, 2, 0);
    lua_insert(L, -2);
    lua_rawseti(L, -2, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, -4, name);
  }
  lua_insert(L, -2);
  lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
  lua_pop(L, 1);
}

/* { CN = "…", O = "…", OU = { "…", "…" } } */
static void push_name(lua_State *L, const X509_NAME *name) {
  lua_newtable(L);
  for (int i = 0, count = crypto_lib.X509_NAME_entry_count(name); i < count; i++) {
    const X509_NAME_ENTRY *entry = crypto_lib.X509_NAME_get_entry(name, i);
    const ASN1_OBJECT *object = crypto_lib.X509_NAME_ENTRY_get_object(entry);
    char numbers[80];
    int nid = crypto_lib.OBJ_obj2nid(object);
    const char *key = nid != NID_undef ? crypto_lib.OBJ_nid2sn(nid) : numbers;
    if (nid == NID_undef) crypto_lib.OBJ_obj2txt(numbers, sizeof numbers, object, 1);
    unsigned char *text = NULL;
    int len = crypto_lib.ASN1_STRING_to_UTF8(&text, crypto_lib.X509_NAME_ENTRY_get_data(entry));
    if (len < 0) continue;
    lua_pushlstring(L, (const char *)text, (size_t)len);
    libcrypto_free(text);
    add_field(L, key);
  }
}

static void set_time(lua_State *L, const char *name, const ASN1_TIME *time) {
  BIO *bio = crypto_lib.BIO_new(crypto_lib.BIO_s_mem());
  if (bio == NULL) return;
  char *text;
  crypto_lib.ASN1_TIME_print(bio, time);
  long len = crypto_lib.BIO_ctrl(bio, BIO_CTRL_INFO, 0, &text);
  lua_pushlstring(L, text, len > 0 ? (size_t)len : 0);
  lua_setfield(L, -2, name);
  crypto_lib.BIO_free(bio);
}

/* "AB:CD:…" */
static void set_fingerprint(lua_State *L, const char *name, const X509 *certificate, const EVP_MD *kind) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned len = 0;
  char text[EVP_MAX_MD_SIZE * 3 + 1];
  if (crypto_lib.X509_digest(certificate, kind, digest, &len) != 1 || len == 0) return;
  for (unsigned i = 0; i < len; i++) snprintf(text + (size_t)i * 3, 4, "%02X:", digest[i]);
  lua_pushlstring(L, text, (size_t)len * 3 - 1);
  lua_setfield(L, -2, name);
}

static void set_hex(lua_State *L, const char *name, const char *prefix, const BIGNUM *number) {
  char *hex = number != NULL ? crypto_lib.BN_bn2hex(number) : NULL;
  if (hex == NULL) return;
  lua_pushfstring(L, "%s%s", prefix, hex);
  lua_setfield(L, -2, name);
  libcrypto_free(hex);
}

static void set_serial(lua_State *L, X509 *certificate) {
  BIGNUM *number = crypto_lib.ASN1_INTEGER_to_BN(crypto_lib.X509_get0_serialNumber(certificate), NULL);
  set_hex(L, "serialNumber", "", number);
  crypto_lib.BN_free(number);
}

static void set_rsa(lua_State *L, const EVP_PKEY *key) {
  BIGNUM *n = NULL, *e = NULL;
  crypto_lib.EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n);
  crypto_lib.EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e);
  set_hex(L, "modulus", "", n);
  char *hex = e != NULL ? crypto_lib.BN_bn2hex(e) : NULL;
  if (hex != NULL) {
    const char *digits = hex + strspn(hex, "0");
    size_t len = strlen(digits);
    lua_pushlstring(L, "0x", 2);
    for (size_t i = 0; i < len; i++) {
      char digit = (char)tolower((unsigned char)digits[i]);
      lua_pushlstring(L, &digit, 1);
      lua_concat(L, 2);
    }
    lua_setfield(L, -2, "exponent");
    libcrypto_free(hex);
  }
  crypto_lib.BN_free(n);
  crypto_lib.BN_free(e);
  unsigned char *der = NULL;
  int len = crypto_lib.i2d_PUBKEY(key, &der);
  if (len > 0) {
    lua_pushlstring(L, (const char *)der, (size_t)len);
    lua_setfield(L, -2, "pubkey");
  }
  libcrypto_free(der);
}

static void set_ec(lua_State *L, const EVP_PKEY *key) {
  static const struct {
    const char *curve, *nist;
  } names[] = {
      {"prime256v1", "P-256"}, {"secp384r1", "P-384"}, {"secp521r1", "P-521"}, {"secp224r1", "P-224"}};
  char group[64];
  if (crypto_lib.EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1) {
    set_string(L, "asn1Curve", group);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
      if (strcmp(names[i].curve, group) == 0) set_string(L, "nistCurve", names[i].nist);
    }
  }
  unsigned char *point = NULL;
  size_t len = crypto_lib.EVP_PKEY_get1_encoded_public_key((EVP_PKEY *)key, &point);
  if (len > 0) {
    lua_pushlstring(L, (const char *)point, len);
    lua_setfield(L, -2, "pubkey");
  }
  libcrypto_free(point);
}

static void set_key(lua_State *L, const X509 *certificate) {
  const EVP_PKEY *key = crypto_lib.X509_get0_pubkey(certificate);
  if (key == NULL) return;
  int kind = crypto_lib.EVP_PKEY_get_base_id(key);
  if (kind != EVP_PKEY_RSA && kind != EVP_PKEY_EC) return;
  lua_pushinteger(L, crypto_lib.EVP_PKEY_get_bits(key));
  lua_setfield(L, -2, "bits");
  if (kind == EVP_PKEY_RSA) set_rsa(L, key);
  else set_ec(L, key);
}

/* What the key may be used for, as numbers: "1.3.6.1.5.5.7.3.1". */
static void set_usage(lua_State *L, const X509 *certificate) {
  OPENSSL_STACK *list = crypto_lib.X509_get_ext_d2i(certificate, NID_ext_key_usage, NULL, NULL);
  if (list == NULL) return;
  lua_newtable(L);
  for (int i = 0, count = crypto_lib.OPENSSL_sk_num(list); i < count; i++) {
    char numbers[80];
    crypto_lib.OBJ_obj2txt(numbers, sizeof numbers, crypto_lib.OPENSSL_sk_value(list, i), 1);
    lua_pushstring(L, numbers);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "ext_key_usage");
  crypto_lib.OPENSSL_sk_pop_free(list, (OPENSSL_sk_freefunc)crypto_lib.ASN1_OBJECT_free);
}

void tls_certificate_push(lua_State *L, X509 *certificate) {
  luaL_checkstack(L, 8, "certificate");
  lua_newtable(L);
  push_name(L, crypto_lib.X509_get_subject_name(certificate));
  lua_setfield(L, -2, "subject");
  push_name(L, crypto_lib.X509_get_issuer_name(certificate));
  lua_setfield(L, -2, "issuer");
  tls_certificate_names(L, certificate);
  lua_pushboolean(L, crypto_lib.X509_check_ca(certificate) == 1);
  lua_setfield(L, -2, "ca");
  set_key(L, certificate);
  set_time(L, "valid_from", crypto_lib.X509_get0_notBefore(certificate));
  set_time(L, "valid_to", crypto_lib.X509_get0_notAfter(certificate));
  set_fingerprint(L, "fingerprint", certificate, crypto_lib.EVP_sha1());
  set_fingerprint(L, "fingerprint256", certificate, crypto_lib.EVP_sha256());
  set_fingerprint(L, "fingerprint512", certificate, crypto_lib.EVP_sha512());
  set_usage(L, certificate);
  set_serial(L, certificate);
  unsigned char *der = NULL;
  int len = crypto_lib.i2d_X509(certificate, &der);
  if (len > 0) {
    lua_pushlstring(L, (const char *)der, (size_t)len);
    lua_setfield(L, -2, "raw");
  }
  libcrypto_free(der);
  libcrypto_clear();
}
