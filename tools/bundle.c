/* tools/bundle.c: a build tool. `bundle_gen OUT.c NAME=FILE…` compiles each Lua file to LuaJIT bytecode (with
 * its line numbers) and writes them as C arrays, sorted by name; a syntax error ends the build and names its file. The
 * chunks' argument is the runtime's own `require` (host/bundle.c), which their first line takes. */
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  FILE *file;
  size_t written;
} output_t;

static int write_bytes(lua_State *L, const void *bytes, size_t length, void *data) {
  output_t *out = data;
  (void)L;
  for (size_t i = 0; i < length; i++) fprintf(out->file, "%u,", ((const unsigned char *)bytes)[i]);
  out->written += length;
  return 0;
}

static const char PREFIX[] = "local require = ... ";

/* The file's text behind the prefix. */
static char *read_file(const char *path, size_t *length) {
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  fseek(file, 0, SEEK_END);
  long size = ftell(file);
  rewind(file);
  char *text = size < 0 ? NULL : malloc((size_t)size + sizeof PREFIX);
  if (text) {
    memcpy(text, PREFIX, sizeof PREFIX - 1);
    *length = sizeof PREFIX - 1 + fread(text + sizeof PREFIX - 1, 1, (size_t)size, file);
  }
  fclose(file);
  return text;
}

/* `lrun.http.server` → `=lrun:http/server.lua`, `net` → `=lrun:net.lua`: the place of the file below lualib. */
static void push_chunk_name(lua_State *L, const char *name) {
  const char *place = luaL_gsub(L, strncmp(name, "lrun.", 5) == 0 ? name + 5 : name, ".", "/");
  lua_pushfstring(L, "=lrun:%s.lua", place);
  lua_remove(L, -2);
}

/* Appends the bytecode of a file. */
static int compile(lua_State *L, output_t *out, const char *name, const char *path) {
  size_t length = 0;
  char *text = read_file(path, &length);
  if (!text) {
    fprintf(stderr, "bundle_gen: cannot read %s\n", path);
    return -1;
  }
  push_chunk_name(L, name);
  int rc = luaL_loadbuffer(L, text, length, lua_tostring(L, -1));
  free(text);
  if (rc != 0) {
    fprintf(stderr, "bundle_gen: %s: %s\n", path, lua_tostring(L, -1));
    return -1;
  }
  lua_dump(L, write_bytes, out);
  lua_pop(L, 2);
  return 0;
}

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

int main(int argc, char **argv) {
  output_t out = {argc > 1 ? fopen(argv[1], "wb") : NULL, 0};
  size_t *ends = calloc((size_t)argc, sizeof *ends);
  lua_State *L = luaL_newstate();
  if (!out.file || !L || !ends) return 1;
  fprintf(out.file, "#include \"host/bundle.h\"\n");
  for (int i = 2; i < argc; i++) {
    char *path = strchr(argv[i], '=');
    if (!path) return 1;
    *path = '\0';
  }
  qsort(argv + 2, (size_t)argc - 2, sizeof *argv, compare);
  fprintf(out.file, "const unsigned char bundle_lua_bytes[] = {");
  for (int i = 2; i < argc; i++) {
    if (compile(L, &out, argv[i], argv[i] + strlen(argv[i]) + 1) < 0) {
      fclose(out.file);
      remove(argv[1]);
      return 1;
    }
    ends[i] = out.written;
  }
  fprintf(out.file, "};\nconst char bundle_lua_names[] =\n");
  for (int i = 2; i < argc; i++) fprintf(out.file, "  \"%s\\0\"\n", argv[i]);
  fprintf(out.file, ";\nconst bundle_module_t bundle_lua_modules[] = {\n");
  size_t name = 0;
  for (int i = 2; i < argc; i++) {
    fprintf(out.file, "  {%zu, %zu, %zu},\n", name, ends[i - 1], ends[i] - ends[i - 1]);
    name += strlen(argv[i]) + 1;
  }
  fprintf(out.file, "};\nconst size_t bundle_lua_count = %d;\n", argc - 2);
  lua_close(L);
  free(ends);
  return fclose(out.file) == 0 ? 0 : 1;
}
