--- What Node's processes of a cluster load before their script: when they are asked to disconnect they end kept connections that are
--- idle, say `Connection: close` on the others, and end once all are gone. Until then they tell, once a second at most and when it has
--- changed, how many connections and requests they have, and how long their loop stood still (`preload.METRICS`). Written to
--- LRUN_HOME, where node finds it.
local uv = require("luv")
local state = require("lrun.manager.state")

local SCRIPT = [[
'use strict';
// lrun's: a process that is about to be replaced lets go of its connections without losing a request.
const net = require('net');
const { performance } = require('perf_hooks');
const servers = new Set();
const sockets = new Set();
const responses = new Set();
const GRACE = 400; // ms in which a client may still ask on a kept connection: it is answered with Connection: close
let draining = false;
let left = false;
let patient = true;
let requests = 0;

function check() {
  if (left && sockets.size === 0) process.kill(process.pid, 'SIGTERM');
}

function closeIdle() {
  for (const server of servers) if (server.closeIdleConnections) server.closeIdleConnections();
}

function onConnection(socket) {
  sockets.add(socket);
  socket.once('close', () => {
    sockets.delete(socket);
    if (draining) setImmediate(check);
  });
}

function onRequest(request, response) {
  requests++;
  if (draining && !response.headersSent) response.shouldKeepAlive = false;
  responses.add(response);
  response.once('close', () => {
    responses.delete(response);
    if (draining && !patient) setImmediate(closeIdle);
  });
}

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  if (!servers.has(this)) {
    servers.add(this);
    this.on('connection', onConnection);
    this.prependListener('request', onRequest);
  }
  return listen.apply(this, args);
};

// close() of a server ends idle connections at once, also those on which a client is just asking.
for (const { Server } of [require('http'), require('https')]) {
  const close = Server.prototype.closeIdleConnections;
  if (!close) continue;
  Server.prototype.closeIdleConnections = function () {
    if (!draining || !patient) close.call(this);
  };
}

function drain() {
  if (draining) return;
  draining = true;
  for (const response of responses) if (!response.headersSent) response.shouldKeepAlive = false;
  setTimeout(() => {
    patient = false;
    closeIdle();
  }, GRACE).unref();
}

const EVERY = 1000; // ms between looks at the figures
const NOISE = 20;   // ms by which any timer may be late
let told = { connections: 0, requests: 0, lag: 0 };

function tellFigures(lag) {
  const figures = { cmd: 'NODE_LRUN', connections: sockets.size, requests, lag };
  const same = told.connections === figures.connections && told.requests === requests && Math.abs(told.lag - lag) < NOISE;
  if (same || !process.connected) return;
  told = figures;
  process.send(figures, undefined, undefined, () => {});
}

function watchFigures() {
  let due = performance.now() + EVERY;
  setInterval(() => {
    const now = performance.now();
    const late = Math.round(now - due);
    due = now + EVERY;
    tellFigures(late < NOISE ? 0 : late);
  }, EVERY).unref();
}

if (require('cluster').isWorker) {
  watchFigures();
  // Before the cluster module itself: that closes the servers.
  process.prependListener('internalMessage', (message) => {
    if (message && message.cmd === 'NODE_CLUSTER' && message.act === 'disconnect') drain();
  });
  process.once('disconnect', () => {
    if (!draining) return;
    left = true;
    // Keeps the process until its connections are gone, whatever the script does.
    setInterval(check, 50);
  });
}
]]

local preload = {}

--- The `cmd` of the messages with figures: `connections`, `requests`, `lag` (ms).
preload.METRICS = "NODE_LRUN"

local written = {}

local function write(path)
  if written[path] and uv.fs_stat(path) then return path end
  local file = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  if text ~= SCRIPT and not state.replace(path, SCRIPT) then return nil end
  written[path] = true
  return path
end

-- For a program of another user, who may not enter LRUN_HOME: in a folder of ours that nobody else can write to.
local shared

local function forOthers()
  if shared and uv.fs_stat(shared) then return shared end
  local folder = uv.fs_mkdtemp(uv.os_tmpdir() .. "/lrun-XXXXXX")
  if not folder then return nil end
  local path = write(folder .. "/preload.cjs")
  uv.fs_chmod(folder, 493)                          -- 0755
  if path then uv.fs_chmod(path, 420) end           -- 0644
  process:once("exit", function()
    uv.fs_unlink(folder .. "/preload.cjs")
    uv.fs_rmdir(folder)
  end)
  shared = path
  return path
end

--- The path of the file, which is written where it is not there; nil where that cannot be.
---@param home string
---@param otherUser boolean
---@return string?
function preload.path(home, otherUser)
  if otherUser then return forOthers() end
  return write(home .. "/preload.cjs")
end

return preload
