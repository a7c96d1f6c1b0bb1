/* http/held.h: files that were just sent, open for the requests that come next.
 *
 * A site holds a few of them for as long as its root. A path that still leads to the inode that was found below the root a
 * moment ago leads to no other file: it need not be found and opened again. What the file is, its size and time, is asked each
 * time; that no coding has come to lie beside it is told by its folder's times. */
#ifndef LRUN_HTTP_HELD_H
#define LRUN_HTTP_HELD_H

#include "http/lookup.h"

enum { HTTP_HELD = 32 };

typedef struct {
  uint64_t dev_ino[2];
  struct statx_timestamp modified, changed;
} http_folder_state_t;

typedef struct http_held {
  char *path; /* NULL for no entry */
  int found;  /* O_PATH: no other file gets its inode number */
  int reading;
  uint64_t dev_ino[2];
  http_folder_state_t folder;
} http_held_t;

/* Whether the lookup's path leads to a file that is held: it is found then, and open where `reading` is not -1. Its descriptors
 * are the site's (lookup->lent). */
bool http_held_find(http_lookup_t *lookup);

/* A file that was found below the root and has nothing beside it; the site takes the lookup's descriptors where it can. */
void http_held_keep(http_lookup_t *lookup);

/* Closes all; the site's memory for them goes. */
void http_held_drop(http_site_t *site);

#endif
