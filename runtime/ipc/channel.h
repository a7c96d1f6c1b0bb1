/* ipc/channel.h: the IPC channel between two processes, over one connected unix socket. */
#ifndef LRUN_IPC_CHANNEL_H
#define LRUN_IPC_CHANNEL_H

#include "ipc/frame.h"
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct channel channel_t; /* fields live in ipc/channel_shared.h */

/* A message as it came. Lua's FFI gets the same text: `lrun.core.channel`.MESSAGE.
 *   body    valid until the next channel_next
 *   length  at most FRAME_MAX; 32 bits are a number to Lua, 64 would be a cdata
 *   fd      on the Lua wire: the descriptor that travelled with it, or -1
 *   kind    CHANNEL_NOTHING, …_MESSAGE, …_HANDLE, …_KEYS
 *   shape   on the Lua wire: what check_serialized tells of the body's shape, plus a half, so that it is never an index of a
 *           table's array to Lua; CHANNEL_SHAPELESS for 0 */
#define CHANNEL_MESSAGE_FIELDS                                                                               \
  const char *body;                                                                                          \
  uint32_t length;                                                                                           \
  int fd;                                                                                                    \
  int kind;                                                                                                  \
  double shape;
typedef struct {
  CHANNEL_MESSAGE_FIELDS
} channel_message_t;

enum {
  CHANNEL_NOTHING = 0,
  CHANNEL_MESSAGE = 1,
  CHANNEL_HANDLE = 2, /* the message names a descriptor, which is lost when fd is -1 */
  CHANNEL_KEYS = 3    /* no message: a body of ipc/keys.h, which is well-formed */
};

#define CHANNEL_SHAPELESS 0.5

enum { CHANNEL_TOO_LONG = -100001 };

/* The next two are what LuaJIT's compiled code calls through the FFI: they never enter Lua. */

/* Fills `message`, and copies a body of up to CHANNEL_SHORT bytes to `copy`: Lua has that address already, and makes none
 * for each. CHANNEL_NOTHING ends the batch: there is none, or process.nextTick has work first. */
enum { CHANNEL_SHORT = 512 };
void channel_next(channel_t *ch, channel_message_t *message, char *copy);

/* Queues a message; `fd` >= 0 is duplicated and travels with it. 1, or 0 when the backlog is long; or a
 * negative code: UV_E*, or the above. */
int channel_append(channel_t *ch, const char *body, size_t length, int fd);

/* On the Lua wire: tells the other end of keys that messages from here on name by number. 0 or a negative code. */
int channel_append_keys(channel_t *ch, const char *body, size_t length);

/* Opens a channel over `fd`, which it owns from here on, also on failure, and pushes its userdata: a pointer
 * to it with the metatable CHANNEL_TYPE. The two functions are registry refs that it owns as well:
 * on_batch(), which takes messages until there are none, and on_close(callbacks of what was not written,
 * reason or nil), once. Returns 0 or UV_E*. */
int channel_open(lua_State *L, int fd, frame_wire_t wire, int on_batch, int on_close);
#define CHANNEL_TYPE "lrun.core.channel"

/* Closes once everything is written; on_close does not run before this has returned. */
void channel_close(channel_t *ch);
/* What was taken last is no message: closes as soon as on_batch has returned, so that no Lua is entered from
 * within the code that takes messages. */
void channel_refuse(channel_t *ch);

/* The peer has ended: reads what it left, then calls the function behind the registry ref, which the channel owns
 * from here on; not if the channel closes before. Neither before this has returned. */
void channel_drain(channel_t *ch, int ref);

/* Whether the open channel keeps the loop alive: not unless asked to. */
void channel_keep_alive(channel_t *ch, bool on);
/* Nothing is read while paused. */
void channel_pause(channel_t *ch, bool on);

/* Calls the function behind a registry ref, which it owns from here on, once what was queued so far is
 * written, or with the error. 0 or UV_ENOMEM. */
int channel_wait(channel_t *ch, int ref);

/* On the JSON wire Lua reads the envelopes: it takes the oldest descriptor that came, or -1, which answers
 * the sender; and tells of an answer: false when the descriptor is lost for good. */
int channel_take_descriptor(channel_t *ch);
bool channel_answered(channel_t *ch, bool taken);

const frame_t *channel_current(const channel_t *ch); /* what channel_next gave last */
double channel_bytes_received(const channel_t *ch);  /* since it was opened */

#endif
