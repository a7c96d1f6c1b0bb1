--- TLS connections of specs: both ends, what became of them, and their end.
local await = require("await")
local net = require("net")
local tls = require("tls")
local servers = require("spec.support.servers")

local support = {}

--- Waits for one of the events; returns its name and arguments.
function support.first(emitter, ...)
  local names, found = { ... }, nil
  await(function(done)
    for _, name in ipairs(names) do
      emitter:once(name, function(...)
        if found then return end
        found = { name, ... }
        done()
      end)
    end
  end)
  return unpack(found)
end

--- Whether the socket has closed, or waits until it has.
function support.closed(socket)
  if not socket.closed and not socket._closeEmitted then support.first(socket, "close") end
end

--- A listening server whose sockets are kept in `accepted` and whose failed handshakes are in `failures`.
function support.serve(options, onSocket)
  local server = tls.createServer(options)
  server.accepted, server.failures = {}, {}
  server:on("secureConnection", function(socket)
    server.accepted[#server.accepted + 1] = socket
    socket:on("error", function() end)
    if onSocket then onSocket(socket) else socket:pipe(socket) end
  end)
  server:on("tlsClientError", function(err) server.failures[#server.failures + 1] = err end)
  function server:closeAllConnections()
    for _, socket in ipairs(self.accepted) do socket:destroy() end
  end
  return servers.listen(server)
end

--- Connects; the socket when it is secure, else nil and the error.
function support.connect(port, options)
  local all = { port = port, host = "127.0.0.1" }
  for key, value in pairs(options) do all[key] = value end
  local socket = tls.connect(all)
  local name, err = support.first(socket, "secureConnect", "error")
  if name == "error" then return nil, err, socket end
  return socket
end

--- The first bytes of a client of ours.
---@param options table as `connect`'s
---@return string
function support.greeting(options)
  local got
  local port = servers.listen(net.createServer(function(socket)
    socket:once("data", function(data)
      got = data
      socket:destroy()
    end)
  end))
  support.connect(port, options)
  return got
end

--- A port that passes everything on to another one, both ways. `changes.up` and `changes.down`, when they are set, get
--- each piece of a client's and of the server's and return what is passed on instead.
function support.proxy(to, changes)
  return (servers.listen(net.createServer(function(socket)
    local out = net.connect(to, "127.0.0.1")
    local function pass(from, into, way)
      from:on("data", function(data) into:write(changes[way] and changes[way](data) or data) end)
      from:on("error", function() end)
      from:on("close", function() into:destroy() end)
    end
    pass(socket, out, "up")
    pass(out, socket, "down")
  end)))
end

--- The same bytes but for the last one.
function support.spoiled(data) return data:sub(1, -2) .. string.char((data:byte(-1) + 1) % 256) end

--- What comes back for `text` from an echo.
function support.echo(socket, text)
  socket:write(text)
  local got = ""
  while #got < #text do
    local _, data = support.first(socket, "data")
    got = got .. data
  end
  return got
end

--- Everything until the end.
function support.drain(socket)
  local parts = {}
  socket:on("data", function(data) parts[#parts + 1] = data end)
  support.first(socket, "end")
  return table.concat(parts)
end

return support
