/* shared/store.h: one dictionary that many processes share: an LMDB file, and a page of notes beside it.
 *
 * Readers take no lock and see a consistent state; writers take turns by a mutex that the kernel hands on when its
 * owner dies; what a writer had not committed never happened. One tree holds everything; the first byte of a key says
 * what it is (STORE_*):
 *
 *   entries   what the program sees: kind, time of its end, stamp, last use, payload
 *   uses      last use and stamp → key of an entry
 *   ends      time and stamp → key of an entry that ends
 *   items     queue and number → payload
 *
 * An entry's stamp, one more than the newest, stays until the entry goes; the newest stamp is the clock. A use is noted in
 * a hashed slot of the notes, which costs a reader one store at most; who makes room walks the uses from the oldest and
 * moves those that the notes know to be newer (room.c). The notes are hints: nothing but the order of eviction depends on
 * them. */
#ifndef LRUN_SHARED_STORE_H
#define LRUN_SHARED_STORE_H

#include <lmdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  STORE_KEY_MAX = 500,           /* bytes of a program's key */
  STORE_VALUE_MAX = 1024 * 1024, /* bytes of a payload */
  STORE_SIZE_MIN = 64 * 1024,
  STORE_LIMIT_MAX = 100000 /* events that a limit can count */
};

/* What keys of the tree begin with. */
enum { STORE_META = 1, STORE_ENTRY, STORE_USE, STORE_END, STORE_ITEM };

typedef enum {
  VALUE_NONE,
  VALUE_STRING,
  VALUE_NUMBER,
  VALUE_BOOLEAN,
  VALUE_TABLE,
  VALUE_QUEUE,
  VALUE_LIMIT
} value_kind_t;

/* What stands before an entry's payload. */
typedef struct {
  uint64_t kind;
  double ends;    /* ms of store_now; 0 for never */
  uint64_t stamp; /* unlike any other's */
  uint64_t used;  /* its place among the uses */
} entry_t;

/* Kept by transactions, in the tree. */
typedef struct {
  uint64_t keys;   /* entries */
  uint64_t used;   /* bytes that entries and items are counted as */
  uint64_t stamps; /* given so far */
  uint64_t queues; /* made so far */
} meta_t;

/* Shared memory beside the tree. */
typedef struct {
  uint64_t magic; /* last to be written when a dictionary is made */
  uint64_t size;
  uint64_t evict;
  uint64_t slots;     /* a power of two */
  uint64_t clock;     /* the newest stamp */
  uint64_t listeners; /* processes that want to hear of changes, never less than there are */
  uint64_t used[];    /* clock of the last use, with a part of the hash, by the key's hash */
} notes_t;

/* A key as the tree has it. */
typedef struct {
  size_t len;
  unsigned char bytes[STORE_KEY_MAX + 8];
} store_key_t;

typedef struct {
  MDB_env *env;
  MDB_dbi dbi;
  MDB_txn *reader; /* reset between uses */
  MDB_txn *writer; /* NULL but within a change */
  meta_t meta;     /* while writing */
  bool meta_changed;
  notes_t *notes;
  size_t notes_len;
  int notes_fd; /* its lock says that the dictionary is open; its bytes are the locks of wrap */
  bool lasting; /* its times must hold over restarts */
} store_t;

typedef struct {
  const char *path; /* of the file; the notes are beside it */
  bool lasting;
  bool has_size, has_evict; /* whether the next two were given */
  uint64_t size;
  bool evict;
} store_options_t;

/* STORE_OTHER: the dictionary is there with other options; STORE_DAMAGED: the file is no dictionary, or was cut. Others are
 * errno values or LMDB's codes. */
enum { STORE_OTHER = -20000, STORE_DAMAGED, STORE_FULL, STORE_KIND };

/* Opens a dictionary, or makes it. 0 or an error. */
int store_open(const store_options_t *options, store_t *store);
void store_close(store_t *store);

uint64_t store_hash(const store_key_t *key);

/* ms, the same in all processes. */
double store_now(const store_t *store);

/* A reader's view; every begin has its end: nothing in between may throw. */
int store_read_begin(store_t *store);
void store_read_end(store_t *store);

/* A change. Nothing is changed unless commit returns 0; after an error of any function below: abort. */
int store_write_begin(store_t *store);
int store_write_commit(store_t *store);
/* begin, work, commit; once more, if readers that are dead held up the room. `work` may not enter Lua. */
int store_change(store_t *store, int (*work)(store_t *store, void *data), void *data);
void store_write_abort(store_t *store);

int store_meta(store_t *store, MDB_txn *txn, meta_t *meta);

/* Where an entry is: its head, its payload and the payload's length. MDB_NOTFOUND also for one that has ended. */
typedef struct {
  entry_t head;
  const unsigned char *payload;
  size_t len;
} found_t;
int store_find(store_t *store, MDB_txn *txn, const store_key_t *key, found_t *found);

/* Makes or changes an entry, and makes room for it. `ends` as in entry_t. The memory that is returned in `payload` is to be
 * filled by the caller before anything else. */
int store_put(store_t *store, const store_key_t *key, value_kind_t kind, double ends, size_t len,
              unsigned char **payload);
/* The same for whoever has looked already: `old` is what was found there, in this transaction. */
int store_put_over(store_t *store, const store_key_t *key, const found_t *old, value_kind_t kind, double ends,
                   size_t len, unsigned char **payload);
/* Takes an entry away with all that belongs to it; MDB_NOTFOUND when there is none. */
int store_delete(store_t *store, const store_key_t *key);
/* Notes that an entry was used now. */
void store_touch(store_t *store, const store_key_t *key);

/* For room.c: the first of the uses, or of the ends that have come: the key of its entry. MDB_NOTFOUND for none. */
int store_first_use(store_t *store, store_key_t *key);
int store_first_end(store_t *store, store_key_t *key);
/* Takes an entry away whether it has ended or not. */
int store_remove(store_t *store, const store_key_t *key);
/* Takes an entry away; or moves it among the uses, and says so in `moved`: where the notes know a newer one, and, to the end,
 * a queue and what is to be kept. */
int store_evict(store_t *store, const store_key_t *key, bool keep, bool *moved);

/* shared/room.c: sees to it that `bytes` more may be used: STORE_FULL when nothing more can go. */
int room_make(store_t *store, size_t bytes, const store_key_t *keep);
/* What a record of this size is counted as. */
size_t room_cost(size_t key_len, size_t len);

/* shared/queue.c */
int queue_push(store_t *store, const store_key_t *key, value_kind_t kind, const char *payload, size_t len,
               double *length);
/* The first item, where it stands in the tree; MDB_NOTFOUND when there is none. */
int queue_first(store_t *store, const store_key_t *key, found_t *item);
/* Takes it away. */
int queue_shift(store_t *store, const store_key_t *key);
int queue_length(store_t *store, const store_key_t *key, double *length);
/* Takes its items away. */
int queue_drop(store_t *store, const found_t *queue);

/* shared/limit.c: notes an event unless `n` of them lie within the last `window` ms. */
typedef struct {
  bool allowed;
  double left, retry_after;
} limit_result_t;
int limit_count(store_t *store, const store_key_t *key, uint32_t n, double window, limit_result_t *result);

#endif
