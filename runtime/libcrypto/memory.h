/* libcrypto/memory.h: where OpenSSL's small objects lie. */
#ifndef LRUN_LIBCRYPTO_MEMORY_H
#define LRUN_LIBCRYPTO_MEMORY_H

/* Before libcrypto's first call: what it allocates comes from here on. The thread that calls this is the loop's. Where
 * another library has used libcrypto already, all stays as it was. */
void libcrypto_memory_begin(void);

#endif
