/* shared/store.c: opens a dictionary's files, and reads and changes its entries. See shared/store.h. */
#include "shared/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
  PAGE = 4096,
  SLOT_BYTES = 128, /* of a dictionary's size for each slot of its notes */
  SLOTS_MIN = 1024,
  READERS = 2048, /* processes at once */
  DEFAULT_SIZE = 16 * 1024 * 1024,
  JOIN_TRIES = 1000 /* a millisecond each: notes that nobody makes */
};
static const uint64_t magic = 0x317475636964726cU; /* "lrdicut1" */

/* Opening ------------------------------------------------------------------------------------------------- */

static uint64_t slots_for(uint64_t size) {
  uint64_t slots = SLOTS_MIN;
  while (slots < size / SLOT_BYTES) slots *= 2;
  return slots;
}

static size_t notes_size(uint64_t slots) { return sizeof(notes_t) + slots * sizeof(uint64_t); }

/* Room for pages that wait to be used again, and for trees that are not full: the address space costs nothing. */
static size_t map_size(uint64_t size) { return (size_t)size * 4 + 16 * 1024 * 1024; }

/* Nobody else has it open: what stands there is compared with what was asked for, or replaced by it. */
static int prepare_notes(store_t *store, const store_options_t *options) {
  notes_t head = {0};
  ssize_t got = pread(store->notes_fd, &head, sizeof head, 0);
  if (got < 0) return errno;
  bool made = got == sizeof head && head.magic == magic;
  uint64_t size = options->has_size ? options->size : made ? head.size : DEFAULT_SIZE;
  uint64_t evict = options->has_evict ? options->evict : made ? head.evict : true;
  uint64_t slots = slots_for(size);
  if (made && head.size == size && head.evict == evict && head.slots == slots) return 0;
  head = (notes_t){.size = size, .evict = evict, .slots = slots, .clock = head.clock};
  if (ftruncate(store->notes_fd, 0) < 0 || ftruncate(store->notes_fd, (off_t)notes_size(slots)) < 0)
    return errno;
  if (pwrite(store->notes_fd, &head, sizeof head, 0) != (ssize_t)sizeof head) return EIO;
  if (pwrite(store->notes_fd, &magic, sizeof magic, 0) != (ssize_t)sizeof magic) return EIO;
  return 0;
}

static int map_notes(store_t *store, const store_options_t *options) {
  notes_t head;
  struct stat st;
  if (pread(store->notes_fd, &head, sizeof head, 0) != (ssize_t)sizeof head || head.magic != magic)
    return STORE_DAMAGED;
  if (fstat(store->notes_fd, &st) < 0) return errno;
  if (head.slots < SLOTS_MIN || head.slots != slots_for(head.size) ||
      (size_t)st.st_size < notes_size(head.slots))
    return STORE_DAMAGED;
  if ((options->has_size && options->size != head.size) ||
      (options->has_evict && options->evict != (head.evict != 0)))
    return STORE_OTHER;
  store->notes_len = notes_size(head.slots);
  store->notes = mmap(NULL, store->notes_len, PROT_READ | PROT_WRITE, MAP_SHARED, store->notes_fd, 0);
  if (store->notes != MAP_FAILED) return 0;
  store->notes = NULL;
  return errno;
}

/* Whether a tree that is there already is whole: a file that was cut would end the process where it is read. */
static int check_file(const char *path, unsigned flags) {
  struct stat st;
  MDB_env *env;
  MDB_envinfo info;
  if (stat(path, &st) < 0) return errno == ENOENT ? 0 : errno;
  if (st.st_size == 0) return 0;
  int rc = mdb_env_create(&env);
  if (rc != 0) return rc;
  rc =
      st.st_size < 2L * PAGE ? STORE_DAMAGED : mdb_env_open(env, path, flags | MDB_RDONLY | MDB_NOLOCK, 0600);
  if (rc == 0) rc = mdb_env_info(env, &info);
  if (rc == 0 && (uint64_t)st.st_size < ((uint64_t)info.me_last_pgno + 1) * PAGE) rc = STORE_DAMAGED;
  mdb_env_close(env);
  return rc == MDB_INVALID || rc == MDB_VERSION_MISMATCH || rc == MDB_CORRUPTED || rc == EINVAL
             ? STORE_DAMAGED
             : rc;
}

static int open_tree(store_t *store, const char *path, bool alone) {
  unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NOMEMINIT;
  if (alone) {
    int rc = check_file(path, flags);
    if (rc != 0) return rc;
  }
  /* Where only processes can die, the kernel keeps what was written to the map. A file on a disk is written by calls. */
  flags |= store->lasting ? MDB_NOSYNC : MDB_WRITEMAP | MDB_MAPASYNC | MDB_NOSYNC;
  int rc = mdb_env_create(&store->env);
  if (rc == 0) rc = mdb_env_set_mapsize(store->env, map_size(store->notes->size));
  if (rc == 0) rc = mdb_env_set_maxreaders(store->env, READERS);
  if (rc == 0) rc = mdb_env_open(store->env, path, flags, 0600);
  if (rc != 0) return rc;
  int dead;
  mdb_reader_check(store->env, &dead);
  MDB_txn *txn;
  rc = mdb_txn_begin(store->env, NULL, 0, &txn);
  if (rc == 0) rc = mdb_dbi_open(txn, NULL, 0, &store->dbi);
  if (rc == 0) rc = mdb_txn_commit(txn);
  return rc;
}

/* The lock that says who has a dictionary open: a byte of the notes behind all those that are locks of keys. Who has it alone
 * keeps it when it becomes one of many, which flock does not promise. */
static int lock_notes(const store_t *store, short type, bool waits) {
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)1 << 62, .l_len = 1};
  int rc;
  do rc = fcntl(store->notes_fd, waits ? F_OFD_SETLKW : F_OFD_SETLK, &lock);
  while (rc < 0 && errno == EINTR);
  return rc < 0 ? errno : 0;
}

static bool is_made(const store_t *store) {
  uint64_t found = 0;
  return pread(store->notes_fd, &found, sizeof found, 0) == (ssize_t)sizeof found && found == magic;
}

/* Who comes first makes the notes; the others wait until it has, and try to be the first when it died before. */
static int join(store_t *store, const store_options_t *options, bool *alone) {
  for (int tries = 0; tries < JOIN_TRIES; tries++) {
    int rc = lock_notes(store, F_WRLCK, false);
    *alone = rc == 0;
    if (*alone) return prepare_notes(store, options);
    if (rc != EAGAIN && rc != EACCES) return rc;
    rc = lock_notes(store, F_RDLCK, true);
    if (rc != 0 || is_made(store)) return rc;
    lock_notes(store, F_UNLCK, false);
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  return STORE_DAMAGED;
}

int store_open(const store_options_t *options, store_t *store) {
  char notes_path[4096 + 8];
  *store = (store_t){.notes_fd = -1, .lasting = options->lasting};
  snprintf(notes_path, sizeof notes_path, "%s.notes", options->path);
  store->notes_fd = open(notes_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (store->notes_fd < 0) return errno;
  bool alone = false;
  int rc = join(store, options, &alone);
  if (rc == 0) rc = map_notes(store, options);
  if (rc == 0) rc = open_tree(store, options->path, alone);
  if (rc == 0 && alone) {
    store->notes->listeners = 0;
    rc = lock_notes(store, F_RDLCK, false);
  }
  if (rc != 0) store_close(store);
  return rc;
}

void store_close(store_t *store) {
  if (store->reader) mdb_txn_abort(store->reader);
  if (store->writer) mdb_txn_abort(store->writer);
  if (store->env) mdb_env_close(store->env);
  if (store->notes) munmap(store->notes, store->notes_len);
  if (store->notes_fd >= 0) close(store->notes_fd);
  *store = (store_t){.notes_fd = -1};
}

double store_now(const store_t *store) {
  struct timespec now;
  clock_gettime(store->lasting ? CLOCK_REALTIME : CLOCK_BOOTTIME, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Transactions -------------------------------------------------------------------------------------------- */

int store_read_begin(store_t *store) {
  int rc = store->reader ? mdb_txn_renew(store->reader)
                         : mdb_txn_begin(store->env, NULL, MDB_RDONLY, &store->reader);
  if (rc == MDB_READERS_FULL || rc == MDB_BAD_RSLOT) {
    int dead;
    mdb_reader_check(store->env, &dead);
    if (store->reader) mdb_txn_abort(store->reader);
    store->reader = NULL;
    rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &store->reader);
  }
  return rc;
}

void store_read_end(store_t *store) { mdb_txn_reset(store->reader); }

static MDB_val meta_key(void) {
  static const unsigned char name = STORE_META;
  return (MDB_val){1, (void *)&name};
}

int store_meta(store_t *store, MDB_txn *txn, meta_t *meta) {
  MDB_val key = meta_key(), value;
  *meta = (meta_t){0};
  int rc = mdb_get(txn, store->dbi, &key, &value);
  if (rc == MDB_NOTFOUND) return 0;
  if (rc == 0 && value.mv_size != sizeof *meta) return STORE_DAMAGED;
  if (rc == 0) memcpy(meta, value.mv_data, sizeof *meta);
  return rc;
}

int store_write_begin(store_t *store) {
  int rc = mdb_txn_begin(store->env, NULL, 0, &store->writer);
  if (rc != 0) {
    store->writer = NULL;
    return rc;
  }
  store->meta_changed = false;
  rc = store_meta(store, store->writer, &store->meta);
  if (rc != 0) store_write_abort(store);
  return rc;
}

int store_write_commit(store_t *store) {
  int rc = 0;
  if (store->meta_changed) {
    MDB_val key = meta_key(), value = {sizeof store->meta, &store->meta};
    rc = mdb_put(store->writer, store->dbi, &key, &value, 0);
  }
  if (rc != 0) {
    store_write_abort(store);
    return rc;
  }
  uint64_t newest = store->meta.stamps;
  rc = mdb_txn_commit(store->writer);
  store->writer = NULL;
  if (rc == 0 && store->meta_changed) __atomic_store_n(&store->notes->clock, newest, __ATOMIC_RELAXED);
  return rc;
}

void store_write_abort(store_t *store) {
  if (store->writer) mdb_txn_abort(store->writer);
  store->writer = NULL;
}

int store_change(store_t *store, int (*work)(store_t *store, void *data), void *data) {
  for (int again = 0;; again++) {
    int rc = store_write_begin(store);
    if (rc == 0) {
      rc = work(store, data);
      if (rc == 0) rc = store_write_commit(store);
      else store_write_abort(store);
    }
    if (rc != MDB_MAP_FULL) return rc;
    int dead = 0;
    mdb_reader_check(store->env, &dead);
    if (again > 0 || dead == 0) return STORE_FULL;
  }
}

/* Entries ------------------------------------------------------------------------------------------------- */

uint64_t store_hash(const store_key_t *key) {
  uint64_t h = 0xcbf29ce484222325U;
  for (size_t i = 0; i < key->len; i++) h = (h ^ key->bytes[i]) * 0x100000001b3U;
  return h ^ h >> 29;
}

static uint64_t *slot_of(store_t *store, const store_key_t *key) {
  return &store->notes->used[store_hash(key) & (store->notes->slots - 1)];
}

/* A note is the clock with some bits of the hash above it, so that a key is not taken for another one of its slot. */
static const uint64_t clock_bits = (1ULL << 44) - 1;

static uint64_t note_of(const store_key_t *key, uint64_t clock) {
  return (store_hash(key) & ~clock_bits) | (clock & clock_bits);
}

static void note_use(store_t *store, const store_key_t *key, uint64_t clock) {
  uint64_t *slot = slot_of(store, key), note = note_of(key, clock);
  if (__atomic_load_n(slot, __ATOMIC_RELAXED) != note) __atomic_store_n(slot, note, __ATOMIC_RELAXED);
}

/* When the notes say that a key was used; 0 where they do not know. */
static uint64_t noted_use(store_t *store, const store_key_t *key) {
  uint64_t note = __atomic_load_n(slot_of(store, key), __ATOMIC_RELAXED);
  return (note & ~clock_bits) == (store_hash(key) & ~clock_bits) ? note & clock_bits : 0;
}

void store_touch(store_t *store, const store_key_t *key) {
  note_use(store, key, __atomic_load_n(&store->notes->clock, __ATOMIC_RELAXED));
}

static int find_any(store_t *store, MDB_txn *txn, const store_key_t *key, found_t *found) {
  MDB_val name = {key->len, (void *)key->bytes}, value;
  int rc = mdb_get(txn, store->dbi, &name, &value);
  if (rc != 0) return rc;
  if (value.mv_size < sizeof found->head) return STORE_DAMAGED;
  memcpy(&found->head, value.mv_data, sizeof found->head);
  found->payload = (const unsigned char *)value.mv_data + sizeof found->head;
  found->len = value.mv_size - sizeof found->head;
  return 0;
}

int store_find(store_t *store, MDB_txn *txn, const store_key_t *key, found_t *found) {
  int rc = find_any(store, txn, key, found);
  if (rc == 0 && found->head.ends != 0 && found->head.ends <= store_now(store)) return MDB_NOTFOUND;
  return rc;
}

/* Numbers as keys, in their order. */
static void big_endian(unsigned char *out, uint64_t number) {
  for (int i = 7; i >= 0; i--, number >>= 8) out[i] = (unsigned char)number;
}

static uint64_t bits_of(double positive) {
  uint64_t bits;
  memcpy(&bits, &positive, sizeof bits);
  return bits;
}

enum { ORDER_KEY = 17 };

static MDB_val use_key(unsigned char out[ORDER_KEY], const entry_t *head) {
  out[0] = STORE_USE;
  big_endian(out + 1, head->used);
  big_endian(out + 9, head->stamp);
  return (MDB_val){ORDER_KEY, out};
}

static MDB_val end_key(unsigned char out[ORDER_KEY], const entry_t *head) {
  out[0] = STORE_END;
  big_endian(out + 1, bits_of(head->ends));
  big_endian(out + 9, head->stamp);
  return (MDB_val){ORDER_KEY, out};
}

/* What an entry costs with its records in the two orders. */
static size_t cost_of(const store_key_t *key, const entry_t *head, size_t len) {
  size_t order = room_cost(ORDER_KEY, key->len);
  return room_cost(key->len, sizeof *head + len) + (head->ends != 0 ? 2 * order : order);
}

static int drop_end(store_t *store, const entry_t *head) {
  if (head->ends == 0) return 0;
  unsigned char bytes[ORDER_KEY];
  MDB_val key = end_key(bytes, head);
  int rc = mdb_del(store->writer, store->dbi, &key, NULL);
  return rc == MDB_NOTFOUND ? 0 : rc;
}

static int note_end(store_t *store, const store_key_t *key, const entry_t *head) {
  if (head->ends == 0) return 0;
  unsigned char bytes[ORDER_KEY];
  MDB_val name = end_key(bytes, head), value = {key->len, (void *)key->bytes};
  return mdb_put(store->writer, store->dbi, &name, &value, 0);
}

/* Takes away an entry that was found, and what belongs to it. */
static int remove_found(store_t *store, const store_key_t *key, const found_t *found) {
  entry_t head = found->head;
  size_t len = found->len;
  int rc = head.kind == VALUE_QUEUE ? queue_drop(store, found) : 0;
  if (rc != 0) return rc;
  unsigned char bytes[ORDER_KEY];
  MDB_val use = use_key(bytes, &head), name = {key->len, (void *)key->bytes};
  rc = mdb_del(store->writer, store->dbi, &use, NULL);
  if (rc == 0 || rc == MDB_NOTFOUND) rc = drop_end(store, &head);
  if (rc == 0) rc = mdb_del(store->writer, store->dbi, &name, NULL);
  if (rc != 0) return rc;
  store->meta.keys--;
  store->meta.used -= cost_of(key, &head, len);
  store->meta_changed = true;
  return 0;
}

int store_remove(store_t *store, const store_key_t *key) {
  found_t found;
  int rc = find_any(store, store->writer, key, &found);
  return rc != 0 ? rc : remove_found(store, key, &found);
}

int store_delete(store_t *store, const store_key_t *key) {
  found_t found;
  int rc = find_any(store, store->writer, key, &found);
  if (rc != 0) return rc;
  bool ended = found.head.ends != 0 && found.head.ends <= store_now(store);
  rc = remove_found(store, key, &found);
  return rc == 0 && ended ? MDB_NOTFOUND : rc;
}

static int put_record(store_t *store, const store_key_t *key, const entry_t *head, size_t len,
                      unsigned char **payload) {
  MDB_val name = {key->len, (void *)key->bytes}, value = {sizeof *head + len, NULL};
  int rc = mdb_put(store->writer, store->dbi, &name, &value, MDB_RESERVE);
  if (rc != 0) return rc;
  memcpy(value.mv_data, head, sizeof *head);
  *payload = (unsigned char *)value.mv_data + sizeof *head;
  return 0;
}

static int make_entry(store_t *store, const store_key_t *key, entry_t *head, size_t len) {
  head->stamp = head->used = ++store->meta.stamps;
  store->meta_changed = true;
  size_t cost = cost_of(key, head, len);
  int rc = room_make(store, cost, key);
  if (rc != 0) return rc;
  unsigned char bytes[ORDER_KEY];
  MDB_val use = use_key(bytes, head), name = {key->len, (void *)key->bytes};
  rc = mdb_put(store->writer, store->dbi, &use, &name, 0);
  if (rc == 0) rc = note_end(store, key, head);
  if (rc != 0) return rc;
  store->meta.keys++;
  store->meta.used += cost;
  return 0;
}

static int change_entry(store_t *store, const store_key_t *key, const found_t *old, entry_t *head,
                        size_t len) {
  head->stamp = old->head.stamp;
  head->used = old->head.used;
  size_t before = cost_of(key, &old->head, old->len), after = cost_of(key, head, len);
  int rc = after > before ? room_make(store, after - before, key) : 0;
  if (rc == 0 && head->ends != old->head.ends) {
    rc = drop_end(store, &old->head);
    if (rc == 0) rc = note_end(store, key, head);
  }
  if (rc != 0 || after == before) return rc;
  store->meta.used += after - before;
  store->meta_changed = true;
  return 0;
}

int store_put_over(store_t *store, const store_key_t *key, const found_t *old, value_kind_t kind, double ends,
                   size_t len, unsigned char **payload) {
  entry_t head = {.kind = kind, .ends = ends};
  int rc = 0;
  if (old != NULL && old->head.kind == VALUE_QUEUE && kind != VALUE_QUEUE) {
    rc = remove_found(store, key, old);
    old = NULL;
  }
  if (rc == 0)
    rc = old != NULL ? change_entry(store, key, old, &head, len) : make_entry(store, key, &head, len);
  if (rc == 0) rc = put_record(store, key, &head, len, payload);
  if (rc == 0) note_use(store, key, store->meta.stamps);
  return rc;
}

int store_put(store_t *store, const store_key_t *key, value_kind_t kind, double ends, size_t len,
              unsigned char **payload) {
  found_t old;
  int rc = find_any(store, store->writer, key, &old);
  if (rc != 0 && rc != MDB_NOTFOUND) return rc;
  return store_put_over(store, key, rc == 0 ? &old : NULL, kind, ends, len, payload);
}

/* What room.c asks ---------------------------------------------------------------------------------------- */

/* The first record of an order: its name, and the key of its entry. */
static int first_of(store_t *store, unsigned char kind, unsigned char name[ORDER_KEY], store_key_t *key) {
  MDB_cursor *cursor;
  MDB_val at = {1, &kind}, value;
  int rc = mdb_cursor_open(store->writer, store->dbi, &cursor);
  if (rc != 0) return rc;
  rc = mdb_cursor_get(cursor, &at, &value, MDB_SET_RANGE);
  if (rc == 0 && (at.mv_size != ORDER_KEY || *(unsigned char *)at.mv_data != kind)) rc = MDB_NOTFOUND;
  if (rc == 0 && value.mv_size > sizeof key->bytes) rc = STORE_DAMAGED;
  if (rc == 0) {
    memcpy(name, at.mv_data, ORDER_KEY);
    memcpy(key->bytes, value.mv_data, value.mv_size);
    key->len = value.mv_size;
  }
  mdb_cursor_close(cursor);
  return rc;
}

int store_first_use(store_t *store, store_key_t *key) {
  unsigned char name[ORDER_KEY];
  return first_of(store, STORE_USE, name, key);
}

int store_first_end(store_t *store, store_key_t *key) {
  unsigned char name[ORDER_KEY], now[8];
  int rc = first_of(store, STORE_END, name, key);
  if (rc != 0) return rc;
  big_endian(now, bits_of(store_now(store)));
  return memcmp(name + 1, now, sizeof now) <= 0 ? 0 : MDB_NOTFOUND;
}

/* Where an entry that was used since stands, now. */
static int move_use(store_t *store, const store_key_t *key, const found_t *found, uint64_t used) {
  unsigned char bytes[ORDER_KEY], *payload;
  entry_t head = found->head;
  size_t len = found->len;
  MDB_val use = use_key(bytes, &head), name = {key->len, (void *)key->bytes};
  unsigned char *copy = malloc(len + 1);
  if (copy == NULL) return ENOMEM;
  memcpy(copy, found->payload, len);
  int rc = mdb_del(store->writer, store->dbi, &use, NULL);
  head.used = used;
  use = use_key(bytes, &head);
  if (rc == 0) rc = mdb_put(store->writer, store->dbi, &use, &name, 0);
  if (rc == 0) rc = put_record(store, key, &head, len, &payload);
  if (rc == 0) memcpy(payload, copy, len);
  free(copy);
  return rc;
}

int store_evict(store_t *store, const store_key_t *key, bool keep, bool *moved) {
  found_t found;
  int rc = find_any(store, store->writer, key, &found);
  if (rc != 0) return rc;
  if (keep || found.head.kind == VALUE_QUEUE) {
    *moved = true;
    store->meta_changed = true;
    return move_use(store, key, &found, ++store->meta.stamps);
  }
  uint64_t used = noted_use(store, key);
  if (used > store->meta.stamps) used = store->meta.stamps; /* written by somebody who wrote anything */
  *moved = used > found.head.used;
  return *moved ? move_use(store, key, &found, used) : remove_found(store, key, &found);
}
