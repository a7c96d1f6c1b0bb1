/* http/site.c: see http/site.h. */
#include "http/site.h"

#include "files/beneath.h"
#include "host/fields.h"
#include "http/held.h"

#include <fcntl.h>
#include <lauxlib.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <uv.h>

/* The root ------------------------------------------------------------------------------------------------------- */

http_root_t *http_root_open(const char *path, bool now, int *error) {
  int fd = AT_FDCWD;
  struct statfs fs = {0};
  if (path != NULL) {
    fd = beneath_find(AT_FDCWD, path, now ? BENEATH_CACHED : 0);
    if (fd < 0) {
      *error = fd;
      return NULL;
    }
    if (!now) fstatfs(fd, &fs);
  }
  http_root_t *root = malloc(sizeof *root);
  if (root == NULL) {
    if (fd >= 0) close(fd);
    *error = UV_ENOMEM;
    return NULL;
  }
  *root = (http_root_t){.fd = fd, .users = 1, .memory = fs.f_type == TMPFS_MAGIC};
  return root;
}

void http_root_release(http_root_t *root) {
  if (root == NULL || --root->users > 0) return;
  if (root->fd >= 0) close(root->fd);
  free(root);
}

void http_site_take(http_site_t *site, http_root_t *root) {
  if (site->open != NULL) return;
  root->users++;
  site->open = root;
  site->opened = true;
}

http_root_t *http_site_root(http_site_t *site, bool now, int *error) {
  if (site->open == NULL) {
    http_root_t *root = http_root_open(site->root, now, error);
    if (root == NULL) return NULL;
    http_site_take(site, root);
    return root;
  }
  site->open->users++;
  return site->open;
}

/* From Lua --------------------------------------------------------------------------------------------------------- */

/* A copy of the string in the field, or NULL. */
static char *take_text(lua_State *L, const char *name) {
  lua_getfield(L, 1, name);
  char *text = lua_isstring(L, -1) ? strdup(lua_tostring(L, -1)) : NULL;
  lua_pop(L, 1);
  return text;
}

static char **take_list(lua_State *L, const char *name) {
  lua_getfield(L, 1, name);
  size_t n = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
  char **list = calloc(n + 1, sizeof *list);
  for (size_t i = 0; list != NULL && i < n; i++) {
    lua_rawgeti(L, -1, (int)i + 1);
    list[i] = strdup(lua_tostring(L, -1));
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return list;
}

static void free_list(char **list) {
  for (size_t i = 0; list != NULL && list[i] != NULL; i++) free(list[i]);
  free(list);
}

int http_site_close(lua_State *L) {
  http_site_t *site = lua_touserdata(L, 1);
  http_held_drop(site);
  http_root_release(site->open);
  site->open = NULL;
  return 0;
}

int http_site_opened(lua_State *L) {
  http_site_t *site = lua_touserdata(L, 1);
  lua_pushboolean(L, site->opened);
  site->opened = false;
  return 1;
}

static int on_collect(lua_State *L) {
  http_site_t *site = lua_touserdata(L, 1);
  http_site_close(L);
  free(site->root);
  free(site->type);
  free(site->cache_control);
  free_list(site->index);
  free_list(site->extensions);
  return 0;
}

int http_site_new(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  http_site_t *site = lua_newuserdata(L, sizeof *site);
  memset(site, 0, sizeof *site);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, on_collect);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  site->root = take_text(L, "root");
  site->type = take_text(L, "type");
  site->cache_control = take_text(L, "cacheControl");
  site->index = take_list(L, "index");
  site->extensions = take_list(L, "extensions");
  lua_getfield(L, 1, "dotfiles");
  site->dotfiles = (http_dotfiles_t)lua_tointeger(L, -1);
  lua_pop(L, 1);
  site->etag = fields_flag(L, 1, "etag");
  site->modified = fields_flag(L, 1, "lastModified");
  site->ranges = fields_flag(L, 1, "acceptRanges");
  site->links = fields_flag(L, 1, "links");
  site->precompressed = fields_flag(L, 1, "precompressed");
  site->pages = fields_flag(L, 1, "pages");
  site->listing = fields_flag(L, 1, "listing");
  return 1;
}
