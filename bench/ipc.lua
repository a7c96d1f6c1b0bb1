--- Messages and handles between processes, beside Node's, in runs that take turns.
local ROUNDS = 5

local ONE_WAY = { what = "oneway", unit = "/s" }
local ROUND_TRIP = { what = "roundtrip", unit = "µs" }

local KIB, MIB = 1024, 1024 * 1024

-- `lua` and `json` are lrun's serializations; Node's is JSON beside both. Counts: lrun's, Node's.
local measures = {
  { ONE_WAY, size = 100, counts = { 500000, 50000 }, targets = { lua = ">= 10", json = ">= 3" }, name = "100 B" },
  { ONE_WAY, size = 10 * KIB, counts = { 20000, 5000 }, targets = {}, name = "10 KiB" },
  { ONE_WAY, size = MIB, counts = { 300, 100 }, targets = {}, name = "1 MiB" },
  { ROUND_TRIP, size = 100, counts = { 5000, 5000 }, targets = { lua = "<= 0.7", json = "<= 0.7" }, name = "100 B" },
  { ROUND_TRIP, size = 10 * KIB, counts = { 3000, 2000 }, targets = {}, name = "10 KiB" },
  { ROUND_TRIP, size = MIB, counts = { 100, 50 }, targets = {}, name = "1 MiB" },
}

-- Runs each { command, arguments } in turn, several times; the medians of what they print.
local function medians(bench, runs)
  local figures = {}
  for i in pairs(runs) do figures[i] = {} end
  for _ = 1, ROUNDS do
    for i, run in pairs(runs) do table.insert(figures[i], tonumber(bench.output(run[1], run[2]))) end
  end
  for i, list in pairs(figures) do figures[i] = bench.median(list) end
  return figures
end

return {
  order = 50,
  run = function(bench)
    local node = bench.find("node")
    local function lrunRun(...) return { bench.lrun, { bench.file("bench/programs/ipc.lua"), ... } } end
    local function nodeRun(...) return { node, { bench.file("bench/programs/ipc.js"), ... } } end

    for _, measure in ipairs(measures) do
      local kind, size = measure[1], tostring(measure.size)
      local ours, theirs = tostring(measure.counts[1]), tostring(measure.counts[2])
      local figures = medians(bench, {
        lrunRun(kind.what, "lua", size, ours),
        lrunRun(kind.what, "json", size, ours),
        node and nodeRun(kind.what, "json", size, theirs),
      })
      local label = (kind == ONE_WAY and "messages one way, " or "message and answer, ") .. measure.name
      for i, serialization in ipairs { "lua", "json" } do
        bench.row { work = label .. ", " .. serialization, unit = kind.unit, lrun = figures[i], peer = node and "node, json",
          other = figures[3], target = node and measure.targets[serialization] }
      end
    end

    local bun = bench.find("bun")
    local objects = medians(bench, {
      lrunRun("objects", "lua", "1000", "500"),
      bun and { bun, { bench.file("bench/programs/ipc.js"), "objects", "json", "1000", "500" } },
      node and nodeRun("objects", "json", "1000", "300"),
    })
    bench.compare("a message of 1,000 small objects and its answer, lua", "µs", objects[1],
      { { "bun, json", objects[2], "<= 1.0" }, { "node, json", objects[3] } })

    for _, children in ipairs { 1, 2, 4, 8 } do
      local share = math.floor(200000 / children)
      local figures = medians(bench, {
        lrunRun("fan", "lua", "100", tostring(share), tostring(children)),
        node and nodeRun("fan", "json", "100", tostring(math.floor(share / 4)), tostring(children)),
      })
      bench.row { work = ("messages from %d %s, 100 B, lua"):format(children, children == 1 and "child" or "children"),
        unit = "/s", lrun = figures[1], peer = node and "node, json", other = figures[2] }
    end

    local figures = medians(bench, {
      lrunRun("handles", "lua", "100", "5000"),
      node and nodeRun("handles", "json", "100", "1000"),
    })
    bench.row { work = "handles sent", unit = "/s", lrun = figures[1], peer = node and "node", other = figures[2] }
  end,
}
