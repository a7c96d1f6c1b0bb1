--- WebSockets (RFC 6455) with compression (RFC 7692), server and client, by the names of npm's ws; ours: topics over all
--- workers, limits of time and of what may wait, `socket:messages()`.
local socket = require("lrun.websocket.socket")
local server = require("lrun.websocket.server")

---@class websocket
---@field WebSocket WebSocket the class
---@field WebSocketServer WebSocketServer the class
---@field Server WebSocketServer the same
local websocket = { WebSocket = socket.WebSocket, WebSocketServer = server.WebSocketServer, Server = server.WebSocketServer }

return websocket
