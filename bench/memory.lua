--- Memory of an idle cluster worker that serves HTTP, after it has served.
local await = require("await")

-- The median of the workers' proportional set sizes. `command` is a copy nobody else runs: pages shared with the
-- program that measures would count for less.
local function measure(bench, name, command, script)
  local servers = bench.startServers { { name, function(port) return command, { script, port, 2 } end } }
  local server = servers[1]
  bench.wrk(server.port, { connections = 16, seconds = 1 })
  await.sleep(1000)
  local sizes = {}
  for _, pid in ipairs(bench.tree(server.pid)) do
    if pid ~= server.pid then sizes[#sizes + 1] = bench.pss(pid) end
  end
  bench.stop(server)
  return bench.median(sizes)
end

return {
  order = 40,
  needs = { "wrk" },
  run = function(bench)
    local copy = bench.scratch .. "/lrun"
    bench.output("cp", { "-f", bench.lrun, copy })
    local lrun = measure(bench, "lrun", copy, bench.file("bench/programs/workers.lua"))
    local work = "memory of an idle worker that serves HTTP (PSS)"
    bench.row { work = work, unit = "MB", lrun = lrun, target = "<= 4" }
    local node = bench.find("node")
    if node then
      local other = measure(bench, "node", node, bench.file("bench/programs/workers.js"))
      bench.compare(work, "MB", lrun, { { "node", other } })
    end
  end,
}
