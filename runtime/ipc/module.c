/* ipc/module.c: the module `lrun.core.channel`, on which lualib/lrun/ipc/channel.lua builds. A channel's userdata
 * holds one pointer, null once it is closed: then its methods do nothing. */
#include "ipc/channel.h"

#include "host/errors.h"
#include "host/modules.h"
#include "host/userdata.h"
#include "ipc/check.h"
#include "ipc/received.h"
#include "json/json.h"
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

static channel_t *check_channel_at(lua_State *L, int index) {
  return *(channel_t **)luaL_checkudata(L, index, CHANNEL_TYPE);
}
static channel_t *check_channel(lua_State *L) { return check_channel_at(L, 1); }

/* open(fd, "lua" or "json", on_batch, on_close) → channel and its address for the FFI, or nil and the error.
 * It owns fd. */
static int l_open(lua_State *L) {
  static const char *const wires[] = {"lua", "json", NULL};
  int fd = (int)luaL_checkinteger(L, 1);
  frame_wire_t wire = luaL_checkoption(L, 2, NULL, wires) == 1 ? FRAME_JSON : FRAME_LUA;
  luaL_checktype(L, 3, LUA_TFUNCTION);
  luaL_checktype(L, 4, LUA_TFUNCTION);
  lua_settop(L, 4);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  int on_close = luaL_ref(L, LUA_REGISTRYINDEX);
  int on_batch = luaL_ref(L, LUA_REGISTRYINDEX);
  int rc = channel_open(L, fd, wire, on_batch, on_close);
  if (rc < 0) return errors_result(L, rc, "open");
  lua_pushlightuserdata(L, check_channel_at(L, -1));
  return 2;
}

/* pair() → fd, fd: two connected sockets, both closed on exec. */
static int l_pair(lua_State *L) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
    return errors_result(L, uv_translate_sys_error(errno), "socketpair");
  lua_pushinteger(L, fds[0]);
  lua_pushinteger(L, fds[1]);
  return 2;
}

/* appendJson(message, fd or -1) → what channel_append returns; or nil and why it cannot be carried */
static int l_append_json(lua_State *L) {
  channel_t *ch = check_channel(L);
  json_text_t text;
  if (!ch) return lua_pushinteger(L, UV_EPIPE), 1;
  int fd = (int)lua_tointeger(L, 3);
  lua_settop(L, 2);
  const char *error = json_encode(L, JSON_LENIENT, &text);
  int rc = error ? 0 : channel_append(ch, text.bytes, text.length, fd);
  json_release(L, &text);
  if (error) {
    lua_settop(L, 2);
    lua_pushnil(L);
    lua_pushstring(L, error);
    return 2;
  }
  lua_pushinteger(L, rc);
  return 1;
}

/* decodeJson() → true and the message that channel_next gave last, or false */
static int l_decode_json(lua_State *L) {
  channel_t *ch = check_channel(L);
  json_fault_t fault;
  lua_pushboolean(L, ch != NULL);
  const frame_t *frame = ch ? channel_current(ch) : NULL;
  if (frame && json_decode(L, frame->body, frame->length, JSON_LENIENT, &fault) == 0) return 2;
  lua_pushboolean(L, 0);
  return 1;
}

/* wait(callback): calls it once what was queued so far is written, or with the error. */
static int l_wait(lua_State *L) {
  channel_t *ch = check_channel(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  if (!ch) return 0;
  lua_pushvalue(L, 2);
  int ref = luaL_ref(L, LUA_REGISTRYINDEX);
  if (channel_wait(ch, ref) == 0) return 0;
  luaL_unref(L, LUA_REGISTRYINDEX, ref);
  return luaL_error(L, "not enough memory");
}

/* encode(encode, buffer, value): string.buffer's own function, whose error must not pass through compiled code →
 * true, or false and the error */
static int l_encode(lua_State *L) {
  lua_settop(L, 3);
  int rc = lua_pcall(L, 2, 0, 0);
  lua_pushboolean(L, rc == 0);
  lua_insert(L, 1);
  return lua_gettop(L);
}

/* appendKeys(body) → true, or nil and the error: tells the other end of keys */
static int l_append_keys(lua_State *L) {
  channel_t *ch = check_channel(L);
  size_t length;
  const char *body = luaL_checklstring(L, 2, &length);
  return errors_result(L, ch ? channel_append_keys(ch, body, length) : UV_EPIPE, "write");
}

/* isSerialized(bytes) → whether string.buffer makes a plain value of them, without harm */
static int l_is_serialized(lua_State *L) {
  size_t length;
  const char *bytes = luaL_checklstring(L, 1, &length);
  lua_pushboolean(L, check_serialized(NULL, bytes, length, NULL));
  return 1;
}

/* kindOf(fd) → "tcp", "pipe", "udp", "file", or nil */
static int l_kind_of(lua_State *L) {
  lua_pushstring(L, received_kind((int)luaL_checkinteger(L, 1)));
  return 1;
}

/* listens(fd) → whether it is a socket that accepts connections */
static int l_listens(lua_State *L) {
  lua_pushboolean(L, received_listens((int)luaL_checkinteger(L, 1)));
  return 1;
}

/* take() → fd: the oldest descriptor that came and was not taken (JSON wire); answers the sender. */
static int l_take(lua_State *L) {
  channel_t *ch = check_channel(L);
  if (!ch) return 0;
  int fd = channel_take_descriptor(ch);
  if (fd < 0) return 0;
  lua_pushinteger(L, fd);
  return 1;
}

/* answered(taken) → true unless the descriptor was lost for good (JSON wire). */
static int l_answered(lua_State *L) {
  channel_t *ch = check_channel(L);
  lua_pushboolean(L, !ch || channel_answered(ch, lua_toboolean(L, 2)));
  return 1;
}

/* close(): once everything is written; then on_close runs, never before close has returned. */
static int l_close(lua_State *L) {
  channel_t *ch = check_channel(L);
  if (ch) channel_close(ch);
  return 0;
}

/* refuse(): for on_batch: what was taken is no message. */
static int l_refuse(lua_State *L) {
  channel_t *ch = check_channel(L);
  if (ch) channel_refuse(ch);
  return 0;
}

/* drain(callback): the peer has ended; calls it once all that it left was read, unless the channel has closed by
 * then. */
static int l_drain(lua_State *L) {
  channel_t *ch = check_channel(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  if (!ch) return 0;
  lua_pushvalue(L, 2);
  channel_drain(ch, luaL_ref(L, LUA_REGISTRYINDEX));
  return 0;
}

static int set_ref(lua_State *L, bool refed) {
  channel_t *ch = check_channel(L);
  if (ch) channel_keep_alive(ch, refed);
  return 0;
}
static int l_ref(lua_State *L) { return set_ref(L, true); }
static int l_unref(lua_State *L) { return set_ref(L, false); }

static int set_paused(lua_State *L, bool paused) {
  channel_t *ch = check_channel(L);
  if (ch) channel_pause(ch, paused);
  return 0;
}
static int l_pause(lua_State *L) { return set_paused(L, true); }
static int l_resume(lua_State *L) { return set_paused(L, false); }

/* received() → bytes read since the channel was opened */
static int l_received(lua_State *L) {
  channel_t *ch = check_channel(L);
  lua_pushnumber(L, ch ? channel_bytes_received(ch) : 0);
  return 1;
}

#define TEXT(...)    TEXT_OF(__VA_ARGS__)
#define TEXT_OF(...) #__VA_ARGS__

static void set_number(lua_State *L, const char *name, int number) {
  lua_pushinteger(L, number);
  lua_setfield(L, -2, name);
}

/* What Lua shares with C: functions that compiled code calls through the FFI, and numbers. */
static void export_shared(lua_State *L) {
  userdata_address(L, "next", (address_t)channel_next);
  userdata_address(L, "append", (address_t)channel_append);
  userdata_address(L, "hasPointer", (address_t)check_has_pointer);
  lua_pushliteral(L, "struct { " TEXT(CHANNEL_MESSAGE_FIELDS) " }");
  lua_setfield(L, -2, "MESSAGE");
  lua_pushnumber(L, CHANNEL_SHAPELESS);
  lua_setfield(L, -2, "SHAPELESS");
  set_number(L, "NOTHING", CHANNEL_NOTHING);
  set_number(L, "HANDLE", CHANNEL_HANDLE);
  set_number(L, "KEYS", CHANNEL_KEYS);
  set_number(L, "SHORT", CHANNEL_SHORT);
  set_number(L, "TOO_LONG", CHANNEL_TOO_LONG);
  set_number(L, "KEYS_MAX", KEYS_MAX);
  set_number(L, "KEY_LENGTH_MAX", KEYS_LENGTH_MAX);
}

int luaopen_lrun_channel(lua_State *L) {
  static const luaL_Reg methods[] = {{"wait", l_wait},
                                     {"appendJson", l_append_json},
                                     {"appendKeys", l_append_keys},
                                     {"decodeJson", l_decode_json},
                                     {"take", l_take},
                                     {"answered", l_answered},
                                     {"close", l_close},
                                     {"refuse", l_refuse},
                                     {"drain", l_drain},
                                     {"ref", l_ref},
                                     {"unref", l_unref},
                                     {"pause", l_pause},
                                     {"resume", l_resume},
                                     {"received", l_received},
                                     {NULL, NULL}};
  static const luaL_Reg functions[] = {{"open", l_open},      {"pair", l_pair},
                                       {"kindOf", l_kind_of}, {"listens", l_listens},
                                       {"encode", l_encode},  {"isSerialized", l_is_serialized},
                                       {NULL, NULL}};
  userdata_class(L, CHANNEL_TYPE, methods);
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  export_shared(L);
  return 1;
}
