--- Starting processes: spawn, fork and execFileSync, one after another, beside Node's.
local ROUNDS = 5

local measures = {
  { what = "fork", work = "fork of an empty script, until its exit", unit = "ms", counts = { 100, 10 }, limit = "<= 5" },
  { what = "spawn", work = "spawn of /bin/true", unit = "/s", counts = { 500, 300 }, target = ">= 1.5" },
  { what = "execFileSync", work = "execFileSync of /bin/echo", unit = "/s", counts = { 500, 300 }, target = ">= 1.5" },
}

return {
  order = 60,
  run = function(bench)
    local node = bench.find("node")
    for _, measure in ipairs(measures) do
      local lrunRuns, nodeRuns = {}, {}
      for _ = 1, ROUNDS do
        table.insert(lrunRuns, tonumber(bench.output(bench.lrun,
          { bench.file("bench/programs/spawn.lua"), measure.what, tostring(measure.counts[1]) })))
        if node then
          table.insert(nodeRuns, tonumber(bench.output(node,
            { bench.file("bench/programs/spawn.js"), measure.what, tostring(measure.counts[2]) })))
        end
      end
      local lrun = bench.median(lrunRuns)
      if measure.limit or not node then
        bench.row { work = measure.work, unit = measure.unit, lrun = lrun, target = measure.limit }
      end
      if node then
        bench.compare(measure.work, measure.unit, lrun, { { "node", bench.median(nodeRuns), measure.target } })
      end
    end
  end,
}
