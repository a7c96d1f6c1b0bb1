/* spec/host/vm_free.c: a process holds one VM after the other, each torn down while timers, servers and children of
 * its are active. Under sanitizers, which say what was used after it was freed. */
#include "host/bundle.h"
#include "host/callback.h"
#include "host/vm.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void) { return 1; } /* what rooms keep for as long as a process lives */

static const char script[] =
    "local timers, net, child_process, json, http, websocket, luv, sockets, fs = ...\n"
    "timers.setInterval(function() turns = (turns or 0) + 1 end, 1)\n"
    "timers.setTimeout(function() error('too late') end, 100000)\n"
    "timers.setImmediate(function() immediate = true end)\n"
    "server = net.createServer(function(socket) socket:write(json.encode({ 'hello' "
    "})) end):listen(0, '127.0.0.1')\n"
    "server:on('listening', function()\n"
    "  client = net.connect(server:address().port, '127.0.0.1')\n"
    "  client:on('data', function(data) answer = data end)\n"
    "  client:write(('x'):rep(3e7))\n" /* nobody reads it */
    "  local other = net.connect(server:address().port, '127.0.0.1')\n"
    "  other:on('connect', function() fs.createReadStream(process.execPath):pipe(other) end)\n"
    "  timers.setInterval(function() sending = other._sending end, 1)\n"
    "end)\n"
    "web = http.createServer(function(req, res)\n"
    "  res:finish(('x'):rep(req.url == '/much' and 8e6 or 1))\n"
    "  asked = req.url == '/late' or nil\n"
    "end):listen(0, '127.0.0.1')\n"
    "web:on('listening', function()\n"
    "  for _, path in ipairs { '/', '/much', '/late' } do\n"
    "    local one = net.connect(web:address().port, '127.0.0.1')\n"
    "    one:pause()\n"
    "    one:write('GET ' .. path .. ' HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n"
    "  end\n"
    "end)\n"
    "lane = luv.new_tcp()\n" /* what a lane brings: one speaks, the other never does */
    "lane:bind('127.0.0.1', 0)\n"
    "bare = http.createServer(function(_, res) res:finish('x') spoken = true end)\n"
    "lane:listen(2, function()\n"
    "  local one = luv.new_tcp()\n"
    "  lane:accept(one)\n"
    "  bare:_onDescriptor(sockets.duplicate(one:fileno()))\n"
    "  one:close()\n"
    "  expected = bare._connections == 2 or nil\n"
    "end)\n"
    "local first = net.connect(lane:getsockname().port, '127.0.0.1')\n"
    "net.connect(lane:getsockname().port, '127.0.0.1')\n"
    "timers.setInterval(function() if expected then first:write('GET / "
    "HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n') expected = false end end, 1)\n"
    "local chat = http.createServer():listen(0, '127.0.0.1')\n"
    "websocket.Server:new({ server = chat }):on('connection', function(ws) ws:send('x') end)\n"
    "chat:on('listening', function()\n"
    "  one = websocket.WebSocket:new('ws://127.0.0.1:' .. chat:address().port)\n"
    "  one:on('message', function(text) told = text end)\n"
    "end)\n"
    "child = child_process.spawn('sleep', { '100' })\n"
    "closed = net.createServer():listen(0) closed:close()\n";

static void check(bool good, const char *what) {
  if (good) return;
  fprintf(stderr, "vm_free: %s\n", what);
  exit(1);
}

static bool is_set(lua_State *L, const char *name) {
  lua_getglobal(L, name);
  bool set = !lua_isnil(L, -1);
  lua_pop(L, 1);
  return set;
}

static void live(void) {
  static const char *const modules[] = {"timers",    "net", "child_process",     "json", "http",
                                        "websocket", "luv", "lrun.core.sockets", "fs"};
  static const char *const awaited[] = {"answer", "turns", "asked", "immediate", "spoken", "told", "sending"};
  vm_t *vm;
  check(vm_new(&vm) == 0, "vm_new");
  lua_State *L = vm_state(vm);
  bundle_require(L, "process");
  lua_setglobal(L, "process");
  check(luaL_loadstring(L, script) == 0, "the script");
  int given = sizeof modules / sizeof *modules;
  for (int i = 0; i < given; i++) bundle_require(L, modules[i]);
  check(callback_enter(L, given) == CALLBACK_DONE, "the script ran");
  size_t done = 0, count = sizeof awaited / sizeof *awaited;
  for (int turn = 0; turn < 100000 && done < count; turn++) {
    uv_run(vm_loop(vm), UV_RUN_ONCE);
    while (done < count && is_set(L, awaited[done])) done++;
  }
  check(done == count, done < count ? awaited[done] : "");
  check(luaL_dostring(L, "process.kill(child.pid, 'SIGKILL')") == 0, "the child's end");
  vm_free(vm);
}

int main(void) {
  for (int i = 0; i < 3; i++) live();
  return 0;
}
