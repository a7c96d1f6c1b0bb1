--- The endpoints that the specs' raw peers talk to: a server that echoes, a client that echoes.
local await = require("await")
local children = require("spec.support.children")
local websocket = require("websocket")

local echo = {}

-- Echoes; keeps what became of it: { open, code, reason, errors = { code, … } }.
local function follow(socket, log)
  log.socket = socket
  socket:on("message", function(data, isBinary) socket:send(data, { binary = isBinary }) end)
  socket:on("error", function(err) log.errors[#log.errors + 1] = err.code or "without a code" end)
  socket:on("close", function(code, reason) log.code, log.reason = code, reason end)
  return log
end

--- A server on a free port, or on `options.server`, which listens. `last` is the log of the newest connection, `logs` are all of them.
---@param options table?
---@return { server: table, port: integer, logs: table[], last: fun(): table, close: fun() }
function echo.server(options)
  local all = { port = 0, host = "127.0.0.1" }
  if options and options.server then all = {} end
  for name, value in pairs(options or {}) do all[name] = value end
  local self = { logs = {}, server = websocket.WebSocketServer:new(all) }
  self.server:on("connection", function(socket, req)
    self.logs[#self.logs + 1] = follow(socket, { errors = {}, req = req })
  end)
  if not all.server then await(function(done) self.server:once("listening", function() done() end) end) end
  self.port = self.server:address().port
  function self.last() return self.logs[#self.logs] end
  --- Waits until all connections have had their close event.
  function self.settled()
    children.eventually(function()
      for _, log in ipairs(self.logs) do if not log.code then return false end end
      return true
    end)
  end
  function self.close()
    for socket in pairs(self.server.clients) do socket:terminate() end
    await(function(done) self.server:close(function() done() end) end)
  end
  return self
end

--- A client; its log.
function echo.client(url, options) return follow(websocket.WebSocket:new(url, options), { errors = {} }) end

return echo
