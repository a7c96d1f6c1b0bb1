/* websocket/topics.c: who has subscribed to what, within one server of one process, and publishing to them.
 *
 * A topic is a userdata in the table group->topics for as long as it has members; a member is one subscription, in the
 * topic's list and in its connection's. What is published is framed once, in memory that streams have in common, and
 * compressed once for each window in use;
 * a connection whose window goes on compresses it for itself. No Lua of the program's runs meanwhile: a connection that is
 * closed for its backpressure leaves the list, and is the only one that does. */
#include "websocket/connection.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  ws_member_t **members;
  uint32_t count, cap;
  int name; /* registry ref */
} ws_topic_t;

struct ws_member {
  ws_conn_t *conn;
  ws_topic_t *topic;
  uint32_t index;              /* in topic->members */
  SLIST_ENTRY(ws_member) link; /* of the connection's */
};

/* The topic whose name is at `index`, on top of the stack as well; NULL, and nil, for none. */
static ws_topic_t *find(lua_State *L, const ws_group_t *group, int index) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, group->topics);
  lua_pushvalue(L, index);
  lua_rawget(L, -2);
  lua_remove(L, -2);
  return lua_touserdata(L, -1);
}

static ws_topic_t *make(lua_State *L, const ws_group_t *group, int index) {
  ws_topic_t *topic = lua_newuserdata(L, sizeof *topic);
  *topic = (ws_topic_t){0};
  lua_pushvalue(L, index);
  topic->name = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_rawgeti(L, LUA_REGISTRYINDEX, group->topics);
  lua_pushvalue(L, index);
  lua_pushvalue(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  return topic;
}

/* The last member has left. */
static void drop(lua_State *L, const ws_group_t *group, ws_topic_t *topic) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, group->topics);
  lua_rawgeti(L, LUA_REGISTRYINDEX, topic->name);
  lua_pushnil(L);
  luaL_unref(L, LUA_REGISTRYINDEX, topic->name);
  free(topic->members);
  lua_rawset(L, -3); /* the topic may be collected from here on */
  lua_pop(L, 1);
}

static bool make_room(ws_topic_t *topic) {
  if (topic->count < topic->cap) return true;
  uint32_t cap = topic->cap > 0 ? topic->cap * 2 : 4;
  ws_member_t **members = realloc(topic->members, cap * sizeof *members);
  if (members == NULL) return false;
  topic->members = members;
  topic->cap = cap;
  return true;
}

static ws_member_t *member_of(const ws_conn_t *conn, const ws_topic_t *topic) {
  ws_member_t *member;
  SLIST_FOREACH(member, &conn->topics, link) if (member->topic == topic) return member;
  return NULL;
}

bool ws_topics_join(lua_State *L, ws_conn_t *conn, int index) {
  ws_topic_t *topic = find(L, conn->group, index);
  if (topic != NULL && member_of(conn, topic) != NULL) {
    lua_pop(L, 1);
    return true;
  }
  if (topic == NULL) {
    lua_pop(L, 1);
    topic = make(L, conn->group, index);
  }
  ws_member_t *member = make_room(topic) ? malloc(sizeof *member) : NULL;
  if (member != NULL) {
    *member = (ws_member_t){.conn = conn, .topic = topic, .index = topic->count};
    topic->members[topic->count++] = member;
    SLIST_INSERT_HEAD(&conn->topics, member, link);
  } else if (topic->count == 0) {
    drop(L, conn->group, topic);
  }
  lua_pop(L, 1);
  return member != NULL;
}

/* The member is out of its connection's list already. */
static void remove_member(lua_State *L, const ws_group_t *group, ws_member_t *member) {
  ws_topic_t *topic = member->topic;
  ws_member_t *moved = topic->members[--topic->count];
  topic->members[member->index] = moved;
  moved->index = member->index;
  free(member);
  if (topic->count == 0) drop(L, group, topic);
}

void ws_topics_leave(lua_State *L, ws_conn_t *conn, int index) {
  const ws_topic_t *topic = find(L, conn->group, index);
  ws_member_t *member = topic != NULL ? member_of(conn, topic) : NULL;
  if (member != NULL) {
    SLIST_REMOVE(&conn->topics, member, ws_member, link);
    remove_member(L, conn->group, member);
  }
  lua_pop(L, 1);
}

void ws_topics_leave_all(lua_State *L, ws_conn_t *conn) {
  luaL_checkstack(L, 4, "ws_topics_leave_all");
  ws_member_t *member;
  while ((member = SLIST_FIRST(&conn->topics))) {
    SLIST_REMOVE_HEAD(&conn->topics, link);
    remove_member(L, conn->group, member);
  }
}

void ws_topics_push(lua_State *L, const ws_conn_t *conn) {
  int n = 0;
  lua_newtable(L);
  const ws_member_t *m;
  SLIST_FOREACH(m, &conn->topics, link) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, m->topic->name);
    lua_rawseti(L, -2, ++n);
  }
}

/* Publishing ------------------------------------------------------------------------------------------ */

enum { LEAST_WINDOW = 8, WINDOWS = 8, PLAIN = WINDOWS, FORMS };

/* The message as frames, each made when a connection first needs it: in the memory that streams have in common, or,
 * where it is large, a Lua string, which a write may hold. */
typedef struct {
  int index; /* where on the stack the strings are */
  ws_frame_t frames[FORMS];
} forms_t;

/* Puts the frame in its place. */
static void keep(lua_State *L, ws_conn_t *conn, forms_t *forms, int which, uint8_t first, const char *data,
                 size_t len) {
  char head[WS_HEAD_MAX];
  size_t n = ws_frame_head(head, first, len);
  ws_frame_t *frame = &forms->frames[which];
  frame->len = n + len;
  char *common = frame->len < WS_PIECE ? stream_common(conn->stream.shared, frame->len) : NULL;
  if (common != NULL) {
    memcpy(common, head, n);
    if (len > 0) memcpy(common + n, data, len);
    frame->data = common;
    return;
  }
  luaL_Buffer string;
  luaL_buffinit(L, &string);
  luaL_addlstring(&string, head, n);
  luaL_addlstring(&string, data, len);
  luaL_pushresult(&string);
  frame->data = lua_tostring(L, -1);
  frame->index = forms->index + which;
  lua_replace(L, frame->index);
}

/* False when memory is out. */
static bool make_form(lua_State *L, ws_conn_t *conn, forms_t *forms, int which, const ws_message_t *message) {
  if (forms->frames[which].data != NULL) return true;
  uint8_t first = WS_FIN | message->opcode;
  if (which == PLAIN) {
    keep(L, conn, forms, which, first, message->data, message->len);
    return true;
  }
  ws_shared_t *shared = conn->group->shared;
  ws_deflater_t *deflater = ws_deflaters_find(&shared->deflaters, conn->deflate.window, conn->group->effort);
  buffer_t *out = &shared->compressed;
  out->len = 0;
  if (deflater == NULL || ws_deflate(deflater, message->data, message->len, true, true, out) < 0)
    return false;
  keep(L, conn, forms, which, first | WS_RSV1, out->data, out->len);
  if (out->cap > WS_SCRATCH_KEPT) buffer_free(out);
  return true;
}

static ws_sent_t deliver(lua_State *L, ws_conn_t *conn, forms_t *forms, const ws_message_t *message) {
  bool deflates = conn->deflate.window > 0 && message->compress;
  if (deflates && conn->deflate.takeover && !conn->sending) return ws_conn_send(L, conn, message);
  bool packed = deflates && !conn->deflate.takeover && message->len >= conn->group->threshold;
  int which = packed ? conn->deflate.window - LEAST_WINDOW : PLAIN;
  if (!make_form(L, conn, forms, which, message)) return WS_DROPPED;
  return ws_conn_send_frame(L, conn, &forms->frames[which]);
}

/* Those that come next will be at hand. */
static void expect(const ws_topic_t *topic, uint32_t i) {
  enum { AHEAD = 4 };
  if (i <= 2 * AHEAD) return;
  __builtin_prefetch(topic->members[i - 1 - 2 * AHEAD]);
  ws_conn_expect(topic->members[i - 1 - AHEAD]->conn);
}

uint32_t ws_topics_publish(lua_State *L, ws_group_t *group, int index, const ws_message_t *message,
                           const ws_conn_t *except) {
  ws_topic_t *topic = find(L, group, index); /* stays on the stack: keeps the topic while members leave */
  if (topic == NULL) {
    lua_pop(L, 1);
    return 0;
  }
  luaL_checkstack(L, FORMS + 12, "publish");
  forms_t forms = {.index = lua_gettop(L) + 1};
  for (int i = 0; i < FORMS; i++) lua_pushnil(L);
  uint32_t reached = 0;
  stream_shared_t *streams = topic->members[0]->conn->stream.shared;
  stream_common_begin(streams);
  for (uint32_t i = topic->count; i > 0;
       i--) { /* backwards: one that leaves changes places with one that was served */
    if (i > topic->count) continue;
    expect(topic, i);
    ws_conn_t *conn = topic->members[i - 1]->conn;
    if (conn == except) continue;
    ws_sent_t sent = deliver(L, conn, &forms, message);
    reached += sent == WS_SENT || sent == WS_FULL;
  }
  stream_common_end(streams);
  lua_settop(L, forms.index - 2);
  return reached;
}
