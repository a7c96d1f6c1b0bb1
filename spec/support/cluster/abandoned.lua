--- A primary to be killed: passes the number of a worker on whose loop stands still.
local cluster = require("cluster")

cluster.setupPrimary{ exec = process.cwd() .. "/spec/support/cluster/worker.lua" }
cluster.fork{ SPEC_ROLE = "stuck" }:on("message", function(pid) process.send(pid) end)
