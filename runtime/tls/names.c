/* tls/names.c: the alternative names of a certificate, and where to ask about it, as text.
 *
 * A name may hold any bytes, also a comma or a NUL that would make two names of one, or cut one short, for who reads the
 * text. Such a name is written in quotes, as JSON writes strings, with commas escaped as well: Node's form. */
#include "tls/certificate.h"

#include <arpa/inet.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

static bool is_safe(const unsigned char *text, size_t len, bool utf8) {
  for (size_t i = 0; i < len; i++) {
    unsigned char c = text[i];
    if (c == '"' || c == '\\' || c == ',' || c == '\'') return false;
    if (c < ' ' || c == 0x7f || (!utf8 && c > '~')) return false;
  }
  return true;
}

static void add_value(luaL_Buffer *to, const char *prefix, const unsigned char *text, size_t len, bool utf8) {
  if (is_safe(text, len, utf8)) {
    luaL_addstring(to, prefix);
    luaL_addlstring(to, (const char *)text, len);
    return;
  }
  luaL_addstring(to, prefix);
  luaL_addchar(to, '"');
  for (size_t i = 0; i < len; i++) {
    unsigned char c = text[i];
    char escaped[8];
    if (c == '\\' || c == '"') snprintf(escaped, sizeof escaped, "\\%c", c);
    else if ((c >= ' ' && c != ',' && c <= '~') || (utf8 && c >= 0x80))
      snprintf(escaped, sizeof escaped, "%c", c);
    else snprintf(escaped, sizeof escaped, "\\u%04x", c);
    luaL_addstring(to, escaped);
  }
  luaL_addchar(to, '"');
}

static void add_string(luaL_Buffer *to, const char *prefix, const ASN1_STRING *string) {
  add_value(to, prefix, crypto_lib.ASN1_STRING_get0_data(string),
            (size_t)crypto_lib.ASN1_STRING_length(string), false);
}

static void add_address(luaL_Buffer *to, const ASN1_STRING *string) {
  char text[INET6_ADDRSTRLEN] = "<invalid>";
  int len = crypto_lib.ASN1_STRING_length(string);
  const unsigned char *bytes = crypto_lib.ASN1_STRING_get0_data(string);
  if (len == 4) inet_ntop(AF_INET, bytes, text, sizeof text);
  else if (len == 16) inet_ntop(AF_INET6, bytes, text, sizeof text);
  luaL_addstring(to, "IP Address:");
  luaL_addstring(to, text);
}

static void add_directory(luaL_Buffer *to, const X509_NAME *name) {
  char *line = crypto_lib.X509_NAME_oneline(name, NULL, 0);
  if (line == NULL) return;
  add_value(to, "DirName:", (const unsigned char *)line, strlen(line), true);
  libcrypto_free(line);
}

static void add_name(luaL_Buffer *to, const GENERAL_NAME *name) {
  char numbers[80];
  switch (name->type) {
  case GEN_DNS: add_string(to, "DNS:", name->d.dNSName); break;
  case GEN_EMAIL: add_string(to, "email:", name->d.rfc822Name); break;
  case GEN_URI: add_string(to, "URI:", name->d.uniformResourceIdentifier); break;
  case GEN_IPADD: add_address(to, name->d.iPAddress); break;
  case GEN_DIRNAME: add_directory(to, name->d.directoryName); break;
  case GEN_RID:
    crypto_lib.OBJ_obj2txt(numbers, sizeof numbers, name->d.registeredID, 1);
    luaL_addstring(to, "Registered ID:");
    luaL_addstring(to, numbers);
    break;
  case GEN_X400: luaL_addstring(to, "X400Name:<unsupported>"); break;
  case GEN_EDIPARTY: luaL_addstring(to, "EdiPartyName:<unsupported>"); break;
  default: luaL_addstring(to, "othername:<unsupported>"); break;
  }
}

static void set_alternatives(lua_State *L, const X509 *certificate) {
  GENERAL_NAMES *list = crypto_lib.X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
  if (list == NULL) return;
  luaL_Buffer text;
  luaL_buffinit(L, &text);
  for (int i = 0, count = crypto_lib.OPENSSL_sk_num((OPENSSL_STACK *)list); i < count; i++) {
    if (i > 0) luaL_addlstring(&text, ", ", 2);
    add_name(&text, crypto_lib.OPENSSL_sk_value((OPENSSL_STACK *)list, i));
  }
  luaL_pushresult(&text);
  lua_setfield(L, -2, "subjectaltname");
  crypto_lib.GENERAL_NAMES_free(list);
}

/* infoAccess["OCSP - URI"] = { "http://…" } */
static void set_access(lua_State *L, const X509 *certificate) {
  AUTHORITY_INFO_ACCESS *list = crypto_lib.X509_get_ext_d2i(certificate, NID_info_access, NULL, NULL);
  if (list == NULL) return;
  lua_newtable(L);
  for (int i = 0, count = crypto_lib.OPENSSL_sk_num((OPENSSL_STACK *)list); i < count; i++) {
    const ACCESS_DESCRIPTION *each = crypto_lib.OPENSSL_sk_value((OPENSSL_STACK *)list, i);
    if (each->location->type != GEN_URI) continue;
    char method[80];
    crypto_lib.OBJ_obj2txt(method, sizeof method, each->method, 0);
    const ASN1_STRING *uri = each->location->d.uniformResourceIdentifier;
    lua_pushfstring(L, "%s - URI", method);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    if (lua_isnil(L, -1)) {
      lua_pop(L, 1);
      lua_newtable(L);
      lua_pushvalue(L, -2);
      lua_pushvalue(L, -2);
      lua_rawset(L, -5);
    }
    lua_pushlstring(L, (const char *)crypto_lib.ASN1_STRING_get0_data(uri),
                    (size_t)crypto_lib.ASN1_STRING_length(uri));
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
    lua_pop(L, 2);
  }
  lua_setfield(L, -2, "infoAccess");
  crypto_lib.AUTHORITY_INFO_ACCESS_free(list);
}

void tls_certificate_names(lua_State *L, X509 *certificate) {
  set_alternatives(L, certificate);
  set_access(L, certificate);
}
