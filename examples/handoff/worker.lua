-- worker.lua: answers the connections that master.lua sends, each with one response.
-- master.lua starts it, one process for each processor.
local net = require("net")

local answer = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\nhello world\n"

process:on("message", function(_, handle)
  local socket = net.Socket:new{ handle = handle }
  socket:on("error", function() end)           -- a client that went away
  socket:once("data", function() socket:finish(answer) end)
end)
