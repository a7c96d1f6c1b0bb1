-- master.lua: accepts connections and gives each one to the next worker process (worker.lua).
-- The descriptor travels over the worker's IPC channel; nothing of a connection stays in this process.
-- Run it with `lrun examples/handoff/master.lua` (PORT in the environment: 8000), ask it with `curl localhost:8000`.
local child_process = require("child_process")
local net = require("net")
local os = require("os")
local uv = require("luv")

local PORT = tonumber(process.env.PORT) or 8000
local script = process.argv[1]:gsub("master%.lua$", "worker.lua")
local workers = {}
for i = 1, os.availableParallelism() do
  workers[i] = child_process.fork(script)
end

local server = assert(net.createServerHandle("0.0.0.0", PORT))
local turn = 0
assert(server:listen(511, function(err)
  assert(not err, err)
  local client = uv.new_tcp()
  if server:accept(client) then
    turn = turn % #workers + 1
    workers[turn]:send({}, client)   -- sends a copy of the descriptor …
  end
  client:close()                     -- … so that ours is done with
end))
print(("listening on port %d with %d workers"):format(server:getsockname().port, #workers))
