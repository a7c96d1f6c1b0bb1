--- A server that speaks Redis' protocol as far as a spec says: `answer(words, connection)` returns the bytes of a reply, nil for
--- "+OK", or false for none. `connection` has `socket` and `number`. HELLO is answered unless `hello = false`.
local await = require("await")
local net = require("net")

local fake = {}

function fake.bulk(text) return ("$%d\r\n%s\r\n"):format(#text, text) end
function fake.list(items) return ("*%d\r\n%s"):format(#items, table.concat(items)) end

-- The commands that are whole at the front of `text`, and the rest.
local function take(text)
  local list = {}
  while true do
    local count, at = text:match("^%*(%d+)\r\n()")
    if not count then return list, text end
    local words = {}
    for _ = 1, tonumber(count) do
      local length, from = text:match("^%$(%d+)\r\n()", at)
      length = tonumber(length)
      if not length or #text < from + length + 1 then return list, text end
      words[#words + 1] = text:sub(from, from + length - 1)
      at = from + length + 2
    end
    list[#list + 1] = words
    text = text:sub(at)
  end
end

--- Starts one; awaits. `server.port`, `server.commands`, `server.connections`, `server:close()`.
function fake.start(answer, options)
  options = options or {}
  local server = { commands = {}, connections = {} }
  local listener = net.createServer(function(socket)
    local connection = { socket = socket, number = #server.connections + 1, text = "" }
    server.connections[connection.number] = connection
    socket:on("error", function() end)
    socket:on("data", function(data)
      local commands
      commands, connection.text = take(connection.text .. data)
      for _, words in ipairs(commands) do
        server.commands[#server.commands + 1] = words
        local reply
        if words[1] == "HELLO" and options.hello ~= false then reply = "%1\r\n+proto\r\n:3\r\n"
        elseif words[1] == "HELLO" then reply = "-ERR unknown command\r\n"
        else reply = answer(words, connection) end
        if reply ~= false and not socket.destroyed then socket:write(reply or "+OK\r\n") end
      end
    end)
  end)
  await(function(callback) listener:listen(0, "127.0.0.1", callback) end)
  server.port = listener:address().port
  function server:count(name)
    local n = 0
    for _, words in ipairs(self.commands) do if words[1] == name then n = n + 1 end end
    return n
  end
  function server:close()
    for _, connection in ipairs(self.connections) do connection.socket:destroy() end
    listener:close()
  end
  return server
end

return fake
