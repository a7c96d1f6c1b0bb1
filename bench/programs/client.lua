-- client.lua PORT COUNT: asks a server COUNT times over 16 kept-alive connections, then prints its processor time a
-- request in µs; the twin of client.js.
local http = require("http")

local port, count = tonumber(process.argv[2]), tonumber(process.argv[3])
local agent = http.Agent:new { keepAlive = true, maxSockets = 16 }
local started, ended = 0, 0

local function ask()
  if started == count then return end
  started = started + 1
  http.get({ host = "127.0.0.1", port = port, agent = agent }, function(res)
    res:on("data", function() end)
    res:on("end", function()
      ended = ended + 1
      if ended < count then return ask() end
      print(os.clock() * 1e6 / count)
      process.exit(0)
    end)
  end)
end

for _ = 1, 16 do ask() end
