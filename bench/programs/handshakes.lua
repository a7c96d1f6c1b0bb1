-- handshakes.lua PORT COUNT full|resume|hold: connections over TLS 1.3 with a request each, one after the other; `hold` keeps them
-- open and prints a line when all stand.
local await = require("await")
local tls = require("tls")

local port, count, mode = tonumber(process.argv[2]), tonumber(process.argv[3]), process.argv[4]
local context = tls.createSecureContext{}
local session
local held = {}

for i = 1, count do
  local socket = tls.connect{
    port = port, host = "127.0.0.1", servername = "localhost", rejectUnauthorized = false, secureContext = context,
    session = mode == "resume" and session or nil, ALPNProtocols = { "http/1.1" },
  }
  socket:on("session", function(new) session = new end)
  socket:write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
  await(function(done) socket:once("data", done) end)
  if mode == "hold" then held[i] = socket else socket:destroy() end
end
if mode == "hold" then
  print("ready", #held)
  io.stdout:flush()
end
