--- When an instance is ready: by its listening, by having run for `minUptime`, by a message, by READY=1 on NOTIFY_SOCKET, or by the
--- answer to a request. One watch an instance: owns its timer and socket, `stop` ends it.
local uv = require("luv")
local supervise = require("lrun.core.supervise")

local ASK_EVERY, ASK_TIMEOUT = 150, 2000      -- ms

local ready = {}

local Watch = {}
Watch.__index = Watch

local function closeHandle(handle)
  if handle and not handle:is_closing() then handle:close() end
end

--- Ends the watch; it calls nobody afterwards.
function Watch:stop()
  if self.stopped then return end
  self.stopped = true
  closeHandle(self.timer)
  closeHandle(self.poll)
  if self.fd then uv.fs_close(self.fd) end
  self.fd = nil
end

local function finish(self)
  if self.stopped then return end
  self:stop()
  self.done()
end

local function after(self, ms)
  self.timer = uv.new_timer()
  self.timer:start(ms, 0, function() finish(self) end)
end

--- Asks for an address; callback(true) for an answer below 400.
---@param check { http: string, port: integer, host: string? }
---@param timeout integer ms
---@param callback fun(good: boolean, problem: string?)
function ready.ask(check, timeout, callback)
  local http = require("http")
  local over = false
  local function once(good, problem)
    if over then return end
    over = true
    callback(good, problem)
  end
  local request = http.get({ host = check.host or "127.0.0.1", port = check.port, path = check.http, agent = false, timeout = timeout },
    function(response)
      response:resume()
      local good = response.statusCode < 400
      once(good, not good and ("status %d"):format(response.statusCode) or nil)
    end)
  request:on("error", function(err) once(false, err.message) end)
  request:on("timeout", function()
    request:destroy()
    once(false, "no answer in time")
  end)
end

local function poll(self, check)
  self.timer = uv.new_timer()
  local asking = false
  self.timer:start(ASK_EVERY, ASK_EVERY, function()
    if asking then return end
    asking = true
    ready.ask(check, ASK_TIMEOUT, function(good)
      asking = false
      if good then finish(self) end
    end)
  end)
end

--- A socket for readiness messages; its name goes to the instance as NOTIFY_SOCKET.
---@return { fd: integer, name: string }? socket
---@return string? problem
function ready.socket()
  local name = "@lrun/" .. uv.random(16):gsub(".", function(c) return ("%02x"):format(c:byte()) end)
  local fd, err = supervise.noticeSocket(name)
  if not fd then return nil, tostring(err) end
  return { fd = fd, name = name }
end

local function notices(self, socket)
  self.fd = socket.fd
  self.poll = uv.new_poll(socket.fd)
  self.poll:start("r", function()
    while not self.stopped do
      local text = supervise.receiveNotice(socket.fd)
      if not text then return end
      if ("\n" .. text .. "\n"):find("\nREADY=1\n", 1, true) then return finish(self) end
    end
  end)
end

--- Watches an instance.
---@param app table
---@param started { child: ChildProcess, notice: table?, onListening: fun(f: function)? }
---@param done fun() once, when it is ready
---@return table watch
function ready.watch(app, started, done)
  local self = setmetatable({ done = done, stopped = false }, Watch)
  local way = app.ready
  if way == "listen" then started.onListening(function() finish(self) end)
  elseif way == "uptime" then after(self, app.minUptime)
  elseif way == "notify" then notices(self, started.notice)
  elseif way == "message" then
    started.child:on("message", function(message)
      if message == "ready" then finish(self) end
    end)
  else poll(self, way) end
  return self
end

return ready
