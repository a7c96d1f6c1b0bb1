/* http/types.h: the media type of a file by the ending of its name. */
#ifndef LRUN_HTTP_TYPES_H
#define LRUN_HTTP_TYPES_H

#include <stdbool.h>
#include <stddef.h>

/* The type for a name such as "a/b.tar.GZ" (the last ending counts, in any case), with its charset where it is text;
 * "application/octet-stream" for what is not known. Static. */
const char *http_type_of(const char *name, size_t len);

/* The same for an ending alone, "html"; NULL for what is not known. */
const char *http_type_of_ending(const char *ending, size_t len);

#endif
