/* zlib/module.c: the module `lrun.core.zlib`, on which lualib/zlib.lua builds. A coder's userdata owns the coder; its environment
 * keeps the dictionary. What fails returns nil, a code, its number and a message. */
#include "zlib/coder.h"

#include "host/modules.h"
#include "host/userdata.h"
#include "io/buffer.h"
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static const char *const class_name = "lrun.zlib";

enum { FIRST_ROOM = 4096, MOST_ROOM = 1024 * 1024 };

static coder_t *coder_at(lua_State *L) {
  coder_t *coder = luaL_checkudata(L, 1, class_name);
  if (!coder->kind) luaL_error(L, "the coder is closed");
  return coder;
}

static int failed(lua_State *L, const coder_fault_t *fault) {
  lua_pushnil(L);
  lua_pushstring(L, fault->code);
  lua_pushinteger(L, fault->number);
  lua_pushstring(L, fault->message);
  return 4;
}

static int integer_field(lua_State *L, int index, const char *name) {
  lua_getfield(L, index, name);
  int value = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return value;
}

static void read_params(lua_State *L, int index, coder_options_t *options) {
  const int most = sizeof options->params / sizeof *options->params;
  lua_getfield(L, index, "params");
  if (lua_istable(L, -1)) {
    for (lua_pushnil(L); lua_next(L, -2) != 0 && options->param_count < most; lua_pop(L, 1)) {
      int *param = options->params[options->param_count++];
      param[0] = (int)lua_tointeger(L, -2);
      param[1] = (int)lua_tointeger(L, -1);
    }
  }
  lua_pop(L, 1);
}

/* new(format, options) → coder */
static int l_new(lua_State *L) {
  coder_format_t format = (coder_format_t)luaL_checkinteger(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  coder_options_t options = {.level = integer_field(L, 2, "level"),
                             .window_bits = integer_field(L, 2, "windowBits"),
                             .mem_level = integer_field(L, 2, "memLevel"),
                             .strategy = integer_field(L, 2, "strategy")};
  read_params(L, 2, &options);
  coder_t *coder = lua_newuserdata(L, sizeof *coder);
  memset(coder, 0, sizeof *coder);
  luaL_getmetatable(L, class_name);
  lua_setmetatable(L, -2);
  lua_createtable(L, 0, 1);
  lua_getfield(L, 2, "dictionary");
  if (lua_isstring(L, -1))
    options.dictionary = (const unsigned char *)lua_tolstring(L, -1, &options.dictionary_len);
  lua_setfield(L, -2, "dictionary");
  lua_setfenv(L, -2);
  if (coder_open(coder, format, &options) < 0) return failed(L, &coder->fault);
  return 1;
}

/* step(data, from, flush, room) → what came out, how far the data was taken, state */
static int l_step(lua_State *L) {
  coder_t *coder = coder_at(L);
  size_t len;
  const char *data = luaL_checklstring(L, 2, &len);
  size_t from = (size_t)luaL_checknumber(L, 3), room = (size_t)luaL_checknumber(L, 5);
  int flush = (int)luaL_checkinteger(L, 4);
  if (from > len) from = len;
  unsigned char *space = lua_newuserdata(L, room), *out = space;
  const unsigned char *in = (const unsigned char *)data + from;
  size_t in_len = len - from;
  coder_state_t state = coder->kind->run(coder, &in, &in_len, &out, &room, flush);
  if (state == CODER_FAILED) return failed(L, &coder->fault);
  lua_pushlstring(L, (const char *)space, (size_t)(out - space));
  lua_pushnumber(L, (lua_Number)(len - in_len));
  lua_pushinteger(L, state);
  return 3;
}

/* Runs to the end of the data. More than `max` bytes are too many. */
static coder_state_t run_all(coder_t *coder, const char *data, size_t len, int flush, size_t max,
                             buffer_t *out) {
  const unsigned char *in = (const unsigned char *)data;
  size_t room = FIRST_ROOM;
  for (;;) {
    /* A byte more than may come tells that there would be more. */
    size_t want = room < max - out->len + 1 ? room : max - out->len + 1, left = want;
    unsigned char *at = (unsigned char *)buffer_room(out, want);
    if (at == NULL) return coder_fail(coder, "Z_MEM_ERROR", Z_MEM_ERROR, "insufficient memory");
    coder_state_t state = coder->kind->run(coder, &in, &len, &at, &left, flush);
    out->len += want - left;
    if (state == CODER_FAILED) return state;
    if (out->len > max) return coder_fail(coder, "ERR_BUFFER_TOO_LARGE", 0, "");
    if (state != CODER_FULL) return state;
    if (room < MOST_ROOM) room *= 2;
  }
}

/* all(data, flush, max) → what comes out, whether the coder has come to its end */
static int l_all(lua_State *L) {
  coder_t *coder = coder_at(L);
  size_t len;
  const char *data = luaL_checklstring(L, 2, &len);
  int flush = (int)luaL_checkinteger(L, 3);
  buffer_t out = {0};
  coder_state_t state = run_all(coder, data, len, flush, (size_t)luaL_checknumber(L, 4), &out);
  if (state == CODER_FAILED) {
    buffer_free(&out);
    return failed(L, &coder->fault);
  }
  lua_pushlstring(L, out.data ? out.data : "", out.len);
  buffer_free(&out);
  lua_pushboolean(L, coder->kind->is_whole(coder));
  return 2;
}

static int l_is_whole(lua_State *L) {
  coder_t *coder = coder_at(L);
  lua_pushboolean(L, coder->kind->is_whole(coder));
  return 1;
}

static int l_reset(lua_State *L) {
  coder_t *coder = coder_at(L);
  coder->kind->reset(coder);
  return 0;
}

/* params(level, strategy): of a coder that deflates, all of whose output was taken */
static int l_params(lua_State *L) {
  coder_t *coder = coder_at(L);
  lua_pushboolean(L, deflate_params(coder, (int)luaL_checkinteger(L, 2), (int)luaL_checkinteger(L, 3)) == 0);
  return 1;
}

static int l_close(lua_State *L) {
  coder_close(luaL_checkudata(L, 1, class_name));
  return 0;
}

/* crc32(data, value) → sum */
static int l_crc32(lua_State *L) {
  size_t len;
  const char *data = luaL_checklstring(L, 1, &len);
  lua_pushnumber(L, (lua_Number)crc32_z((uLong)luaL_checknumber(L, 2), (const Bytef *)data, len));
  return 1;
}

static void set_integer(lua_State *L, const char *name, int value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, name);
}

static void set_formats(lua_State *L) {
  static const char *const names[] = {
      "gzip",  "gunzip",         "deflate",          "inflate",      "deflateRaw",    "inflateRaw",
      "unzip", "brotliCompress", "brotliDecompress", "zstdCompress", "zstdDecompress"};
  lua_createtable(L, 0, sizeof names / sizeof *names);
  for (int i = 0; i < (int)(sizeof names / sizeof *names); i++) set_integer(L, names[i], i);
  lua_setfield(L, -2, "formats");
}

int luaopen_lrun_zlib(lua_State *L) {
  static const luaL_Reg methods[] = {{"step", l_step},   {"all", l_all},       {"isWhole", l_is_whole},
                                     {"reset", l_reset}, {"params", l_params}, {"close", l_close},
                                     {"__gc", l_close},  {NULL, NULL}};
  static const luaL_Reg functions[] = {{"new", l_new}, {"crc32", l_crc32}, {NULL, NULL}};
  userdata_class(L, class_name, methods);
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  set_integer(L, "full", CODER_FULL);
  set_integer(L, "hungry", CODER_HUNGRY);
  set_integer(L, "ended", CODER_ENDED);
  set_formats(L);
  lua_pushstring(L, zlibVersion());
  lua_setfield(L, -2, "version");
  return 1;
}
