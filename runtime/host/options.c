/* host/options.c: the command line → a table. What the options do is boot.lua's business. */
#include "host/options.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  lua_State *L;
  int argc;
  char **argv;
  int at;    /* the argument that is read */
  int steps; /* entries in steps */
  int code;  /* of these, -e and -p: with one of them there is no script */
  int own;   /* entries in execArgv */
} reader_t;

enum { TABLE = 1, STEPS = 2, EXEC_ARGV = 3 }; /* stack slots */

static int usage(const char *format, const char *what) {
  fputs("lrun: ", stderr);
  fprintf(stderr, format, what);
  fputs(" (try 'lrun --help')\n", stderr);
  return 2;
}

static void remember(reader_t *reader, const char *argument) {
  lua_pushstring(reader->L, argument);
  lua_rawseti(reader->L, EXEC_ARGV, ++reader->own);
}

static void set_string(lua_State *L, const char *key, const char *value) {
  lua_pushstring(L, value);
  lua_setfield(L, TABLE, key);
}

static void set_true(lua_State *L, const char *key) {
  lua_pushboolean(L, 1);
  lua_setfield(L, TABLE, key);
}

static void add_step(reader_t *reader, const char *kind, const char *value) {
  lua_State *L = reader->L;
  lua_createtable(L, 0, 2);
  lua_pushstring(L, kind);
  lua_setfield(L, -2, "kind");
  lua_pushstring(L, value);
  lua_setfield(L, -2, "value");
  lua_rawseti(L, STEPS, ++reader->steps);
}

/* The value of an option: the rest of its argument, or the next one; NULL when there is none. */
static const char *option_value(reader_t *reader, const char *attached) {
  if (attached && *attached) return attached;
  if (attached && attached[-1] == '=') return NULL;
  if (reader->at + 1 >= reader->argc) return NULL;
  return reader->argv[++reader->at];
}

/* An option that makes a step: -e CODE, -p CODE, -l NAME, -r NAME, -j CMD. */
static int read_step(reader_t *reader, const char *argument) {
  char kind[3] = {'-', argument[1], '\0'};
  const char *value = option_value(reader, argument + 2);
  if (!value) return usage("option '%s' needs a value", kind);
  if (kind[1] == 'e' || kind[1] == 'p') {
    reader->code++;
  } else {
    remember(reader, kind);
    remember(reader, value);
  }
  add_step(reader, kind[1] == 'r' ? "-l" : kind, value);
  return 0;
}

static int read_completion(reader_t *reader, const char *argument) {
  static const char *const shells[] = {"bash", "zsh", "fish"};
  const char *shell = option_value(reader, argument[0] ? argument + 1 : NULL);
  if (!shell) return usage("option '%s' needs a shell: bash, zsh or fish", "--completion");
  for (size_t i = 0; i < sizeof shells / sizeof *shells; i++)
    if (strcmp(shell, shells[i]) == 0) {
      set_string(reader->L, "mode", "completion");
      set_string(reader->L, "shell", shell);
      return 0;
    }
  return usage("no completion for '%s': there is one for bash, zsh and fish", shell);
}

static int read_long(reader_t *reader, const char *argument) {
  lua_State *L = reader->L;
  if (strcmp(argument, "--help") == 0) return set_string(L, "mode", "help"), 0;
  if (strcmp(argument, "--version") == 0) return set_string(L, "mode", "version"), 0;
  if (strncmp(argument, "--title", 7) == 0 && (argument[7] == '=' || argument[7] == '\0')) {
    const char *value = option_value(reader, argument[7] ? argument + 8 : NULL);
    if (!value) return usage("option '%s' needs a value", "--title");
    remember(reader, "--title");
    remember(reader, value);
    set_string(L, "title", value);
    return 0;
  }
  if (strncmp(argument, "--completion", 12) == 0 && (argument[12] == '=' || argument[12] == '\0'))
    return read_completion(reader, argument + 12);
  return usage("unknown option '%s'", argument);
}

static int read_option(reader_t *reader, const char *argument) {
  lua_State *L = reader->L;
  if (argument[1] == '-') return read_long(reader, argument);
  if (strchr("epljr", argument[1])) return read_step(reader, argument);
  if (argument[1] == 'O') {
    remember(reader, argument);
    add_step(reader, "-O", argument + 2);
    return 0;
  }
  if (argument[2] != '\0') return usage("unknown option '%s'", argument);
  switch (argument[1]) {
  case 'c': {
    const char *value = option_value(reader, NULL);
    if (!value) return usage("option '%s' needs a value", "-c");
    set_string(L, "mode", "check");
    set_string(L, "script", value);
    return 0;
  }
  case 'i': return set_true(L, "interactive"), 0;
  case 'v': return set_string(L, "mode", "version"), 0;
  case 'h': return set_string(L, "mode", "help"), 0;
  default: return usage("unknown option '%s'", argument);
  }
}

/* -c runs nothing, so nothing that runs may stand beside it. */
static int check_combination(reader_t *reader) {
  lua_State *L = reader->L;
  lua_getfield(L, TABLE, "mode");
  bool check = strcmp(lua_tostring(L, -1), "check") == 0;
  lua_getfield(L, TABLE, "interactive");
  bool interactive = lua_toboolean(L, -1);
  lua_pop(L, 2);
  if (!check) return 0;
  if (reader->code > 0) return usage("option '-c' runs nothing, so it cannot stand beside '%s'", "-e or -p");
  if (interactive) return usage("option '-c' runs nothing, so it cannot stand beside '%s'", "-i");
  if (reader->at < reader->argc) return usage("one file after '-c', not also '%s'", reader->argv[reader->at]);
  return 0;
}

int options_push(lua_State *L, int argc, char **argv) {
  reader_t reader = {.L = L, .argc = argc, .argv = argv, .at = 1};
  lua_settop(L, 0);
  lua_newtable(L);
  lua_newtable(L);
  lua_newtable(L);
  set_string(L, "mode", "run");
  set_string(L, "lrun", argc > 0 ? argv[0] : "lrun");
  for (; reader.at < argc; reader.at++) {
    const char *argument = argv[reader.at];
    if (strcmp(argument, "--") == 0) {
      reader.at++;
      break;
    }
    if (argument[0] != '-' || argument[1] == '\0') break;
    int rc = read_option(&reader, argument);
    if (rc != 0) return rc;
  }
  int combination = check_combination(&reader);
  if (combination != 0) return combination;
  lua_setfield(L, TABLE, "execArgv");
  lua_setfield(L, TABLE, "steps");
  lua_getfield(L, TABLE, "script");
  if (lua_isnil(L, -1) && reader.code == 0 && reader.at < argc) set_string(L, "script", argv[reader.at++]);
  lua_settop(L, TABLE);
  lua_newtable(L);
  for (int i = 1; reader.at < argc; i++) {
    lua_pushstring(L, argv[reader.at++]);
    lua_rawseti(L, -2, i);
  }
  lua_setfield(L, TABLE, "args");
  return 0;
}
