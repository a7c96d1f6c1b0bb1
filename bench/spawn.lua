--- Starting processes: fork, spawn and execFileSync, one after another, beside Node's and Bun's; spawn also from a parent that
--- holds much memory, beside a loop of posix_spawn in C that holds as much.
local ROUNDS = 5

local SPAWN = { "spawn", unit = "/s", counts = { lrun = 500, node = 200, bun = 300, c = 500 } }
local LARGE = { "spawn", unit = "/s", counts = { lrun = 500, node = 20, bun = 300, c = 500 } } -- Node copies the page tables
local FORK = { "fork", unit = "ms", counts = { lrun = 100, node = 10 } }
local SYNC = { "execFileSync", unit = "/s", counts = { lrun = 500, node = 300 } }

-- Sizes of the parent are MiB; targets are for lrun : peer, `limit` for lrun's figure itself.
local measures = {
  { FORK, work = "fork of an empty script, until its exit", limit = "<= 5", targets = {} },
  { SPAWN, work = "spawn of /bin/true", targets = { c = ">= 0.85", bun = ">= 1.0", node = ">= 1.5" } },
  { LARGE, work = "the same, the parent holds 200 MiB", size = 200, targets = { c = ">= 0.85", bun = ">= 1.0", node = ">= 1.5" } },
  { LARGE, work = "the same, the parent holds 1 GiB", size = 1024, targets = { c = ">= 0.85", bun = ">= 1.0", node = ">= 1.5" } },
  { SYNC, work = "execFileSync of /bin/echo", targets = { node = ">= 2" } },
}

local ORDER = { "c", "bun", "node" }
local NAMES = { c = "posix_spawn in C", bun = "bun", node = "node" }

-- How to measure by each that is installed: name → a function that gives one figure.
local function runners(bench)
  local function script(command, path)
    return command and function(what, count, size)
      return tonumber(bench.output(command, { bench.file(path), what, tostring(count), tostring(size) }))
    end or nil
  end
  local launch = bench.compile("launch")
  return {
    lrun = script(bench.lrun, "bench/programs/spawn.lua"),
    node = script(bench.find("node"), "bench/programs/spawn.js"),
    bun = script(bench.find("bun"), "bench/programs/spawn.js"),
    c = function(_, count, size)
      return 1e6 / tonumber(bench.output(launch, { "-m", tostring(size), tostring(count), "/bin/true" }))
    end,
  }
end

-- The medians of runs that take turns.
local function figures(bench, run, measure)
  local kind, lists, medians = measure[1], {}, {}
  for _ = 1, ROUNDS do
    for name, count in pairs(kind.counts) do
      lists[name] = lists[name] or {}
      if run[name] then table.insert(lists[name], run[name](kind[1], count, measure.size or 0)) end
    end
  end
  for name, list in pairs(lists) do medians[name] = list[1] and bench.median(list) end
  return medians
end

return {
  order = 60,
  run = function(bench)
    local run = runners(bench)
    for _, measure in ipairs(measures) do
      local found, peers = figures(bench, run, measure), {}
      for _, name in ipairs(ORDER) do
        if found[name] then peers[#peers + 1] = { NAMES[name], found[name], measure.targets[name] } end
      end
      if measure.limit or #peers == 0 then
        bench.row { work = measure.work, unit = measure[1].unit, lrun = found.lrun, target = measure.limit }
      end
      bench.compare(measure.work, measure[1].unit, found.lrun, peers)
    end
  end,
}
