--- Pairs of connected sockets.
local await = require("await")
local net = require("net")

local sockets = {}

--- Runs `test(client, accepted, server)` with the two ends of a connection, then closes everything.
---@param options { server: table?, client: table?, path: string? } of the server, of the client; a unix socket in the place of TCP
---@param test fun(client: Socket, accepted: Socket, server: Server)
function sockets.connected(options, test)
  local server = net.createServer(options.server)
  local client, accepted
  await(function(done)
    local left = 2
    local function ready()
      left = left - 1
      if left == 0 then done() end
    end
    server:on("connection", function(socket) accepted = socket ready() end)
    server:listen(options.path and { path = options.path } or { port = 0, host = "127.0.0.1" }, function()
      local target = options.path and { path = options.path } or { port = server:address().port, host = "127.0.0.1" }
      for key, value in pairs(options.client or {}) do target[key] = value end
      client = net.connect(target, ready)
    end)
  end)
  test(client, accepted, server)
  client:destroy()
  accepted:destroy()
  await(function(done) server:close(done) end)
end

return sockets
