--- Servers of a test: they listen on a free port of 127.0.0.1, and are closed with all their connections after it.
local await = require("await")
local http = require("http")
local uv = require("luv")

local servers = {}
local open = {}

--- Listens, where `listen`'s arguments do not say otherwise on a free port.
---@return integer|string port or path
---@return Server server
function servers.listen(server, ...)
  open[#open + 1] = server
  local arguments = select("#", ...) > 0 and { ... } or { 0, "127.0.0.1" }
  await(function(done)
    server:once("listening", function() done() end)
    server:listen(unpack(arguments))
  end)
  local address = server:address()
  return type(address) == "table" and address.port or address, server
end

--- The same for an HTTP server that is made of the arguments.
function servers.serve(options, listener) return servers.listen(http.createServer(options, listener)) end

--- For after_each: what the test has closed itself may be closed again.
function servers.close()
  local all = open
  open = {}
  for _, server in ipairs(all) do
    if server.closeAllConnections then server:closeAllConnections() end
    await(function(done) server:close(function() done() end) end)
  end
end

--- A TCP port that nobody listens on.
---@return integer
function servers.freePort()
  local probe = uv.new_tcp()
  assert(probe:bind("127.0.0.1", 0))
  local port = probe:getsockname().port
  probe:close()
  return port
end

return servers
