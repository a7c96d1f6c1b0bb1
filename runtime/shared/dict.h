/* shared/dict.h: a dictionary as Lua has it: the userdata that owns a store, and how keys, values and failures go to and fro.
 * Private to module.c (opening, locks, listeners), single.c (one operation a call), update.c (a function of the program's
 * within a change) and dict.c.
 *
 * Keys are strings or numbers; values strings, numbers, booleans, and, behind them, `true` for bytes that are an encoded
 * table. A method that fails returns nil and a name: an errno's, or "FULL", "KIND", "ABSENT", "OTHER", "DAMAGED", "BUSY". Those that
 * change something return, last, whether somebody listens. */
#ifndef LRUN_SHARED_DICT_H
#define LRUN_SHARED_DICT_H

#include "shared/store.h"

#include <lauxlib.h>

#define DICT_CLASS "lrun.shared"

typedef struct {
  store_t store;
  bool open;
} dict_t;

/* The dictionary at an index; throws when there is none, or it is closed. */
dict_t *dict_at(lua_State *L, int index);

/* A store that may be changed now; NULL within an update of any dictionary of this process: other writers would be waited for,
 * who may wait for us. */
store_t *dict_writable(lua_State *L, int index);

/* nil and the name of what went wrong. */
int dict_failed(lua_State *L, int rc);
int dict_busy(lua_State *L);

void dict_read_key(lua_State *L, int index, store_key_t *key);
void dict_push_key(lua_State *L, const unsigned char *bytes, size_t len);

/* A value as the tree has it; `number` and `truth` are where its bytes are when it is no string. */
typedef struct {
  value_kind_t kind;
  const char *bytes;
  size_t len;
  double number;
  char truth;
} value_t;

/* The value at an index; behind it whether it is an encoded table. */
void dict_read_value(lua_State *L, int index, value_t *value);
int dict_put_value(store_t *store, const store_key_t *key, const value_t *value, double ends);

/* Whether an entry is a value: queues and limits are none. */
bool dict_is_value(const found_t *found);

/* Pushes a value, and `true` behind an encoded table; how many were pushed, or 0 for a kind that is no value. It throws where
 * memory runs out, which nothing may within a view or a change: others would wait for its end. There it is the second one,
 * which gives -1 and pushes the error. */
int dict_push_value(lua_State *L, const found_t *found);
int dict_push_guarded(lua_State *L, const found_t *found);

/* Keeps a C function for lua_pcall within a view or a change, and pushes it: neither takes memory then. */
void dict_keep(lua_State *L, lua_CFunction *function);
void dict_kept(lua_State *L, lua_CFunction *function);
/* Keeps those of dict.c, single.c and update.c. */
void dict_guards(lua_State *L);
void dict_single_guards(lua_State *L);
void dict_update_guards(lua_State *L);

/* Whether somebody listens to changes; and the same as one more result behind `results`. */
bool dict_is_heard(const store_t *store);
int dict_changed(lua_State *L, const store_t *store, int results);

typedef enum { SET_ALWAYS, SET_ABSENT, SET_PRESENT } set_mode_t;

/* The methods of single.c and update.c. */
extern const luaL_Reg dict_single_methods[], dict_update_methods[];

/* shared/update.c: how many updates of any dictionary of this process are under way. */
int dict_updates(void);

#endif
