/* websocket/module.c: the module `lrun.core.websocket`: what lualib/lrun/websocket asks of connections. Internal:
 * arguments are trusted to be of the right kind, not to belong to a connection that is still open. */
#include "host/collector.h"
#include "host/fields.h"
#include "host/modules.h"
#include "host/userdata.h"
#include "websocket/connection.h"
#include "websocket/handshake.h"

#include <lauxlib.h>
#include <luv/lhandle.h>
#include <string.h>

#define GROUP "lrun.websocket.group"

/* What `send` and `publish` take beside the data: an opcode, and these. */
enum { FLAG_MORE = 0x100, FLAG_PLAIN = 0x200 };

/* A result of `send` beside those of ws_sent_t: a text that is no UTF-8. */
enum { NO_TEXT = WS_CUT + 1 };

/* setup{ onmessage = f, … }: the functions that connections call. */
static int l_setup(lua_State *L) {
  static const char *const names[WS_CALLBACKS] = {"onmessage", "oncontrol", "onsent",
                                                  "onfault",   "onfailed",  "onclosed"};
  luaL_checktype(L, 1, LUA_TTABLE);
  ws_shared_t *shared = ws_shared(L);
  for (int i = 0; i < WS_CALLBACKS; i++) {
    lua_getfield(L, 1, names[i]);
    luaL_unref(L, LUA_REGISTRYINDEX, shared->callbacks[i]);
    shared->callbacks[i] = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  return 0;
}

/* Groups ---------------------------------------------------------------------------------------------- */

static uint64_t number_field(lua_State *L, const char *name) {
  lua_getfield(L, 2, name);
  lua_Number n = lua_tonumber(L, -1);
  lua_pop(L, 1);
  return n > 0 && n < 9007199254740992.0 ? (uint64_t)n : 0;
}

static int integer_field(lua_State *L, const char *name, int otherwise) {
  lua_getfield(L, 2, name);
  int n = lua_isnumber(L, -1) ? (int)lua_tointeger(L, -1) : otherwise;
  lua_pop(L, 1);
  return n;
}

/* No message is longer, whatever the program allows: Lua's strings end at twice that. */
enum { MESSAGE_MAX = 1 << 30 };

/* group(is server, settings): what the connections of one server have in common. */
static int l_group(lua_State *L) {
  luaL_checktype(L, 2, LUA_TTABLE);
  ws_group_t *group = lua_newuserdata(L, sizeof *group);
  *group = (ws_group_t){.shared = ws_shared(L), .server = lua_toboolean(L, 1), .topics = LUA_NOREF};
  group->max_payload = number_field(L, "maxPayload");
  if (group->max_payload == 0 || group->max_payload > MESSAGE_MAX) group->max_payload = MESSAGE_MAX;
  group->limit = number_field(L, "backpressureLimit");
  group->idle_timeout = number_field(L, "idleTimeout");
  group->ping_interval = number_field(L, "pingInterval");
  group->close_timeout = number_field(L, "closeTimeout");
  group->stall_timeout = number_field(L, "stallTimeout");
  group->threshold = number_field(L, "threshold");
  group->effort = (ws_effort_t){integer_field(L, "level", -1), integer_field(L, "memLevel", 8)};
  group->drop = fields_flag(L, 2, "drop");
  luaL_getmetatable(L, GROUP);
  lua_setmetatable(L, -2);
  lua_newtable(L);
  group->topics = luaL_ref(L, LUA_REGISTRYINDEX);
  return 1;
}

static int l_group_gc(lua_State *L) {
  ws_group_t *group = lua_touserdata(L, 1);
  luaL_unref(L, LUA_REGISTRYINDEX, group->topics);
  group->topics = LUA_NOREF;
  return 0;
}

static int l_count(lua_State *L) {
  const ws_group_t *group = lua_touserdata(L, 1);
  lua_pushinteger(L, (lua_Integer)group->count);
  return 1;
}

static int l_sweep(lua_State *L) {
  ws_group_sweep(L, lua_touserdata(L, 1));
  return 0;
}

/* A connection's life ---------------------------------------------------------------------------------- */

static ws_conn_t *conn_at(lua_State *L, int index) { return lua_touserdata(L, index); }

/* attach(group, handle, socket[, window of what comes, whether it goes on, window of what goes, whether it goes on]) →
 * the connection, or nothing where the handle is closed. The handle is luv's, or one that lends its stream. Call start
 * then. */
static int l_attach(lua_State *L) {
  ws_group_t *group = lua_touserdata(L, 1);
  stream_t *lent;
  bool lender = stream_lent(L, 2, &lent);
  uv_stream_t **handle = lua_touserdata(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 7);
  if (lender ? lent == NULL : handle == NULL || uv_is_closing((uv_handle_t *)*handle)) return 0;
  ws_conn_t *conn = lua_newuserdata(L, sizeof *conn);
  lua_pushvalue(L, 3);
  ws_conn_attach(L, conn, group, lender ? NULL : *handle, lent);
  conn->parser.inflate = (ws_agreed_t){(uint8_t)lua_tointeger(L, 4), lua_toboolean(L, 5)};
  conn->deflate = (ws_agreed_t){(uint8_t)lua_tointeger(L, 6), lua_toboolean(L, 7)};
  collector_hurry(L);
  return 1;
}

/* write(conn, bytes): the end of the handshake, before any frame. */
static int l_write(lua_State *L) {
  ws_conn_t *conn = conn_at(L, 1);
  size_t len;
  const char *bytes = luaL_checklstring(L, 2, &len);
  if (!ws_conn_is_open(conn)) return 0;
  if (buffer_add(stream_out(&conn->stream), bytes, len) < 0) ws_conn_close(L, conn);
  return 0;
}

/* start(conn[, bytes]): writes what there is, then begins to read, after `bytes` that were received before. */
static int l_start(lua_State *L) {
  ws_conn_t *conn = conn_at(L, 1);
  size_t len = 0;
  const char *bytes = lua_tolstring(L, 2, &len);
  if (ws_conn_is_open(conn)) ws_conn_start(L, conn, bytes, len);
  return 0;
}

/* flush(conn): writes what there is. */
static int l_flush(lua_State *L) {
  ws_conn_flush(L, conn_at(L, 1));
  return 0;
}

static int l_pause(lua_State *L) {
  ws_conn_pause(conn_at(L, 1));
  return 0;
}

static int l_resume(lua_State *L) {
  ws_conn_resume(L, conn_at(L, 1));
  return 0;
}

/* close(conn, code[, reason]): sends a close frame. */
static int l_close(lua_State *L) {
  size_t len = 0;
  const char *reason = lua_tolstring(L, 3, &len);
  ws_conn_send_close(L, conn_at(L, 1), (uint16_t)lua_tointeger(L, 2), reason, len);
  return 0;
}

/* terminate(conn): closes the handle now. */
static int l_terminate(lua_State *L) {
  ws_conn_close(L, conn_at(L, 1));
  return 0;
}

/* Sending ---------------------------------------------------------------------------------------------- */

static ws_message_t message_at(lua_State *L, int index, int bits) {
  ws_message_t message = {.index = index};
  message.data = lua_tolstring(L, index, &message.len);
  message.opcode = (uint8_t)bits & WS_OPCODE;
  message.fin = (bits & FLAG_MORE) == 0;
  message.compress = (bits & FLAG_PLAIN) == 0;
  return message;
}

static bool is_text(const char *data, size_t len) {
  utf8_t utf8 = {0};
  return utf8_take(&utf8, data, len) && utf8_whole(&utf8);
}

/* A part of a text may end within a character. */
static bool is_sendable(const ws_conn_t *conn, const ws_message_t *message) {
  bool whole = message->fin && (conn == NULL || !conn->sending);
  return message->opcode != WS_TEXT || !whole || is_text(message->data, message->len);
}

/* send(conn, data, opcode and flags) → one of `results` */
static int l_send(lua_State *L) {
  ws_conn_t *conn = conn_at(L, 1);
  ws_message_t message = message_at(L, 2, (int)lua_tointeger(L, 3));
  lua_pushinteger(L, is_sendable(conn, &message) ? (int)ws_conn_send(L, conn, &message) : NO_TEXT);
  return 1;
}

/* sendSmall(conn, data, length, opcode and flags): sends as `send` does, or returns false where that is to be done, in
 * compiled code. */
static bool send_small(ws_conn_t *conn, const char *data, size_t len, int bits) {
  if ((bits & FLAG_MORE) != 0 || ((bits & WS_OPCODE) == WS_TEXT && !is_text(data, len))) return false;
  return ws_conn_append_small(conn, (uint8_t)bits & WS_OPCODE, data, len);
}

/* control(conn, data, opcode) */
static int l_control(lua_State *L) {
  ws_conn_t *conn = conn_at(L, 1);
  size_t len;
  const char *data = lua_tolstring(L, 2, &len);
  if (conn->way == WS_OPEN) ws_conn_control(L, conn, (uint8_t)lua_tointeger(L, 3), data, len);
  return 0;
}

/* tell(conn) → bytes of output since the beginning; onsent is to say how many of them were written. */
static int l_tell(lua_State *L) {
  ws_conn_t *conn = conn_at(L, 1);
  conn->tell_sent = true;
  lua_pushnumber(L, (lua_Number)conn->appended);
  return 1;
}

static int l_buffered(lua_State *L) {
  lua_pushnumber(L, (lua_Number)ws_conn_pending(conn_at(L, 1)));
  return 1;
}

/* Topics ----------------------------------------------------------------------------------------------- */

/* subscribe(conn, topic) */
static int l_subscribe(lua_State *L) {
  ws_conn_t *conn = conn_at(L, 1);
  if (conn->way == WS_OPEN && !ws_topics_join(L, conn, 2)) return luaL_error(L, "not enough memory");
  return 0;
}

static int l_unsubscribe(lua_State *L) {
  ws_topics_leave(L, conn_at(L, 1), 2);
  return 0;
}

static int l_topics(lua_State *L) {
  ws_topics_push(L, conn_at(L, 1));
  return 1;
}

/* publish(group, topic, data, opcode and flags[, conn that gets nothing]) → how many got it; nothing for a text that is no
 * UTF-8 */
static int l_publish(lua_State *L) {
  ws_message_t message = message_at(L, 3, (int)lua_tointeger(L, 4));
  message.fin = true;
  if (!is_sendable(NULL, &message)) return 0;
  lua_pushinteger(L, ws_topics_publish(L, lua_touserdata(L, 1), 2, &message, lua_touserdata(L, 5)));
  return 1;
}

/* The handshake ---------------------------------------------------------------------------------------- */

/* sha1(data) → 20 bytes */
static int l_sha1(lua_State *L) {
  size_t len;
  const char *data = luaL_checklstring(L, 1, &len);
  uint8_t digest[WS_DIGEST];
  ws_sha1(data, len, digest);
  lua_pushlstring(L, (const char *)digest, sizeof digest);
  return 1;
}

/* isText(data): whether it is UTF-8. */
static int l_is_text(lua_State *L) {
  size_t len;
  const char *data = luaL_checklstring(L, 1, &len);
  lua_pushboolean(L, is_text(data, len));
  return 1;
}

/* isCloseCode(code): whether a close frame may have it. */
static int l_is_close_code(lua_State *L) {
  lua_Number code = lua_tonumber(L, 1);
  lua_pushboolean(L, code >= 0 && code < 65536 && ws_close_code_valid((unsigned)code));
  return 1;
}

static const userdata_number_t opcodes[] = {
    {"text", WS_TEXT}, {"binary", WS_BINARY}, {"ping", WS_PING}, {"pong", WS_PONG}, {NULL, 0}};
static const userdata_number_t flags[] = {{"more", FLAG_MORE}, {"plain", FLAG_PLAIN}, {NULL, 0}};
static const userdata_number_t states[] = {{"CONNECTING", WS_STATE_CONNECTING},
                                           {"OPEN", WS_STATE_OPEN},
                                           {"CLOSING", WS_STATE_CLOSING},
                                           {"CLOSED", WS_STATE_CLOSED},
                                           {NULL, 0}};
static const userdata_number_t results[] = {{"sent", WS_SENT}, {"full", WS_FULL},   {"dropped", WS_DROPPED},
                                            {"cut", WS_CUT},   {"noText", NO_TEXT}, {NULL, 0}};
static const userdata_number_t limits[] = {
    {"control", WS_CONTROL_MAX}, {"noStatus", WS_NO_STATUS}, {"abnormal", WS_ABNORMAL}, {NULL, 0}};

int luaopen_lrun_websocket(lua_State *L) {
  static const luaL_Reg group[] = {{"__gc", l_group_gc}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"setup", l_setup},
                                       {"group", l_group},
                                       {"count", l_count},
                                       {"sweep", l_sweep},
                                       {"attach", l_attach},
                                       {"write", l_write},
                                       {"start", l_start},
                                       {"flush", l_flush},
                                       {"pause", l_pause},
                                       {"resume", l_resume},
                                       {"close", l_close},
                                       {"terminate", l_terminate},
                                       {"send", l_send},
                                       {"control", l_control},
                                       {"tell", l_tell},
                                       {"buffered", l_buffered},
                                       {"subscribe", l_subscribe},
                                       {"unsubscribe", l_unsubscribe},
                                       {"topics", l_topics},
                                       {"publish", l_publish},
                                       {"sha1", l_sha1},
                                       {"isText", l_is_text},
                                       {"isCloseCode", l_is_close_code},
                                       {NULL, NULL}};
  userdata_class(L, GROUP, group);
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  userdata_address(L, "sendSmall", (address_t)send_small);
  userdata_numbers(L, "opcodes", opcodes);
  userdata_numbers(L, "flags", flags);
  userdata_numbers(L, "states", states);
  userdata_numbers(L, "results", results);
  userdata_numbers(L, "limits", limits);
  return 1;
}
