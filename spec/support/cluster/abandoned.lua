--- A primary to be killed: passes the number of a worker on, then says "ready". Its argument says what the worker does by
--- then: stuck (its loop stands still), asked (it was asked to disconnect, has done so, and lives on), draining (it was asked,
--- and waits for what its `drain` listener waits for).
local cluster = require("cluster")

local role = process.argv[2]
cluster.setupPrimary{ exec = process.cwd() .. "/spec/support/cluster/worker.lua", args = {} }
local worker = cluster.fork{ SPEC_ROLE = role, SPEC_DRAIN = "never" }

local function ready() process.send("ready") end

worker:on("message", function(message)
  if type(message) == "table" then return ready() end
  process.send(message)
  if role == "stuck" then ready() else worker:disconnect() end
end)
worker:on("disconnect", ready)
