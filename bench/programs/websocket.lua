-- websocket.lua PORT [deflate]: echoes at /echo; what comes at /say goes to all who are at /room. The twin of websocket.js.
local websocket = require("websocket")

local deflate = process.argv[3] == "deflate" and { serverNoContextTakeover = true, clientNoContextTakeover = true } or false
local server = websocket.WebSocketServer:new{ port = tonumber(process.argv[2]), host = "127.0.0.1", perMessageDeflate = deflate }

local function onEcho(socket)
  socket:on("message", function(data, isBinary) socket:send(data, { binary = isBinary }) end)
end

server:on("connection", function(socket, req)
  if req.url == "/room" then return socket:subscribe("room") end
  if req.url == "/say" then return socket:on("message", function(data) server:publish("room", data) end) end
  onEcho(socket)
end)
