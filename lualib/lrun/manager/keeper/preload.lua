--- What Node's processes of a cluster load before their script: when they are asked to disconnect they end kept connections that are
--- idle, say `Connection: close` on the others, and end once all are gone. Written to LRUN_HOME, where node finds it.
local uv = require("luv")
local state = require("lrun.manager.state")

local SCRIPT = [[
'use strict';
// lrun's: a process that is about to be replaced lets go of its connections without losing a request.
const net = require('net');
const servers = new Set();
const sockets = new Set();
const responses = new Set();
const GRACE = 400; // ms in which a client may still ask on a kept connection: it is answered with Connection: close
let draining = false;
let left = false;
let patient = true;

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

function drain() {
  if (draining) return;
  draining = true;
  for (const response of responses) if (!response.headersSent) response.shouldKeepAlive = false;
  setTimeout(() => {
    patient = false;
    closeIdle();
  }, GRACE).unref();
}

if (require('cluster').isWorker) {
  process.on('internalMessage', (message) => {
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
local written = {}

--- The path of the file, which is written where it is not there; nil where that cannot be.
---@param home string
---@return string?
function preload.path(home)
  local path = home .. "/preload.cjs"
  if written[home] and uv.fs_stat(path) then return path end
  local file = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  if text ~= SCRIPT and not state.replace(path, SCRIPT) then return nil end
  written[home] = true
  return path
end

return preload
