/* zlib/coder.c: see zlib/coder.h. */
#include "zlib/coder.h"

#include <stdio.h>
#include <string.h>

coder_state_t coder_fail(coder_t *coder, const char *code, int number, const char *message) {
  coder->fault = (coder_fault_t){.code = code, .number = number};
  snprintf(coder->fault.message, sizeof coder->fault.message, "%s", message);
  return CODER_FAILED;
}

int coder_open(coder_t *coder, coder_format_t format, const coder_options_t *options) {
  memset(coder, 0, sizeof *coder);
  coder->options = *options;
  if (format >= CODER_ZSTD) return zstd_open(coder, format);
  if (format >= CODER_BROTLI) return brotli_open(coder, format);
  return deflate_open(coder, format);
}

void coder_close(coder_t *coder) {
  if (coder->kind) coder->kind->close(coder);
  coder->kind = NULL;
}
