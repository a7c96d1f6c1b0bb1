/* host/script_input.c: reads a script from standard input and leaves what comes after it to the script.
 *
 * The script ends with the input, or with a line `__END__`. Nothing behind that line is taken from the
 * descriptor: files are sought back, pipes are looked into with tee(2), sockets with MSG_PEEK; a terminal
 * gives one line at a time. */
#include "host/errors.h"
#include "host/modules.h"
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

static const char MARKER[] = "__END__";
enum { MARKER_LENGTH = sizeof MARKER - 1, CHUNK = 65536 };

typedef struct {
  char *bytes;
  size_t length, size;
  size_t line; /* where the last line starts that was not looked at in full */
} script_t;

/* Looks at up to CHUNK bytes at `at`, waits if there are none; how many, 0 at the end, or a negative code. */
typedef ssize_t (*peek_t)(char *at, int pipe[2]);

static bool retry(void) {
  struct pollfd ready = {.fd = STDIN_FILENO, .events = POLLIN};
  if (errno == EAGAIN) poll(&ready, 1, -1);
  return errno == EINTR || errno == EAGAIN;
}

static ssize_t read_all(int fd, char *at, size_t length) {
  size_t done = 0;
  while (done < length) {
    ssize_t n = read(fd, at + done, length - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n < 0 ? -errno : (ssize_t)done;
    done += (size_t)n;
  }
  return (ssize_t)done;
}

static ssize_t peek_pipe(char *at, int pipe[2]) {
  ssize_t n;
  do n = tee(STDIN_FILENO, pipe[1], CHUNK, 0);
  while (n < 0 && retry());
  return n <= 0 ? n : read_all(pipe[0], at, (size_t)n);
}

static ssize_t peek_socket(char *at, int pipe[2]) {
  (void)pipe;
  ssize_t n;
  do n = recv(STDIN_FILENO, at, CHUNK, MSG_PEEK);
  while (n < 0 && retry());
  return n;
}

/* Not a look but a read: for files, which are sought back, and terminals, which give a line. */
static ssize_t take(char *at, int pipe[2]) {
  (void)pipe;
  ssize_t n;
  do n = read(STDIN_FILENO, at, CHUNK);
  while (n < 0 && retry());
  return n;
}

/* Whether the marker's line is complete; then the script ends at `*script_end`, and the rest starts at
 * `*rest`. */
static bool find_end(script_t *script, size_t *script_end, size_t *rest) {
  for (;;) {
    char *line = script->bytes + script->line;
    const char *newline = memchr(line, '\n', script->length - script->line);
    if (!newline) return false;
    size_t length = (size_t)(newline - line);
    size_t bare = length > 0 && line[length - 1] == '\r' ? length - 1 : length;
    if (bare == MARKER_LENGTH && memcmp(line, MARKER, MARKER_LENGTH) == 0) {
      *script_end = script->line;
      *rest = script->line + length + 1;
      return true;
    }
    script->line += length + 1;
  }
}

static bool reserve(script_t *script) {
  if (script->length + CHUNK <= script->size) return true;
  size_t size = script->size * 2 + CHUNK;
  char *bytes = realloc(script->bytes, size);
  if (!bytes) return false;
  script->bytes = bytes;
  script->size = size;
  return true;
}

/* Takes from the descriptor what was only looked at. */
static int consume(peek_t peek, size_t count, char *scratch) {
  if (peek == take) return 0;
  ssize_t n = read_all(STDIN_FILENO, scratch, count);
  return n < 0 ? (int)n : 0;
}

static int read_script(script_t *script, peek_t peek, int pipe[2], bool seekable) {
  for (;;) {
    size_t end, rest;
    if (!reserve(script)) return UV_ENOMEM;
    ssize_t n = peek(script->bytes + script->length, pipe);
    if (n <= 0) return n < 0 ? uv_translate_sys_error(errno) : 0;
    size_t before = script->length;
    script->length += (size_t)n;
    bool found = find_end(script, &end, &rest);
    if (!found) rest = script->length;
    int rc = consume(peek, rest - before, script->bytes + before);
    if (rc < 0) return rc;
    if (!found) continue;
    if (seekable) lseek(STDIN_FILENO, (off_t)rest - (off_t)script->length, SEEK_CUR);
    script->length = end;
    return 0;
  }
}

/* script() → the text; or nil and the error. */
static int l_script(lua_State *L) {
  script_t script = {0};
  struct stat stat;
  int pipe[2] = {-1, -1};
  peek_t peek = take;
  if (fstat(STDIN_FILENO, &stat) < 0) return errors_result(L, uv_translate_sys_error(errno), "read");
  if (S_ISSOCK(stat.st_mode)) peek = peek_socket;
  if (S_ISFIFO(stat.st_mode) && pipe2(pipe, O_CLOEXEC) == 0) peek = peek_pipe;
  int rc = read_script(&script, peek, pipe, S_ISREG(stat.st_mode));
  if (pipe[0] >= 0) {
    close(pipe[0]);
    close(pipe[1]);
  }
  if (rc == 0) lua_pushlstring(L, script.bytes ? script.bytes : "", script.length);
  free(script.bytes);
  return rc == 0 ? 1 : errors_result(L, rc, "read");
}

int luaopen_lrun_script_input(lua_State *L) {
  lua_newtable(L);
  lua_pushcfunction(L, l_script);
  lua_setfield(L, -2, "script");
  return 1;
}
