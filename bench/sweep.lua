--- Many small works beside Node and Bun: timers, awaits, events, text, JSON, files, streams, sockets, messages. One row a
--- work, beside the better of both, so that the next one that falls behind is seen. Programs take turns; the least of all
--- rounds counts.
local ROUNDS = 3

-- Of the better of both; where there is none, 1.
local targets = {
  ["timeout set and cleared"] = { node = 0.7 },
  ["await, at once"] = { node = 2 },
  ["JSON of a small object"] = { node = 0.7 },
  ["small object of JSON"] = { node = 0.7 },
  ["print"] = { node = 0.25 },
}

local UNITS = { { 1e6, "ms" }, { 1e3, "µs" }, { 1, "ns" } }

local function unitOf(nanoseconds)
  for _, unit in ipairs(UNITS) do
    if nanoseconds >= unit[1] then return unit[1], unit[2] end
  end
  return 1, "ns"
end

-- What the works print goes to a pipe that is read and dropped; the figures come by standard error.
local function run(bench, program, file)
  return bench.output("/bin/sh", { "-c", '{ "$0" "$1" "$2" 2>&3 | cat >/dev/null; } 3>&1', program, file, bench.scratch })
end

local function better(name, node, bun)
  local wanted = targets[name] and targets[name].node
  if wanted and node then return "node", node, wanted end
  if bun and (not node or bun < node) then return "bun", bun, 1 end
  return "node", node, 1
end

return {
  order = 60,
  run = function(bench)
    local programs = {
      { bench.lrun, bench.file("bench/programs/sweep.lua"), {} },
      { bench.find("node"), bench.file("bench/programs/sweep.js"), {} },
      { bench.find("bun"), bench.file("bench/programs/sweep.js"), {} },
    }
    local names = {}
    for _ = 1, ROUNDS do
      for i, program in ipairs(programs) do
        if program[1] then bench.takeLeast(run(bench, program[1], program[2]), program[3], i == 1 and names or {}) end
      end
    end
    local ours, node, bun = programs[1][3], programs[2][3], programs[3][3]
    for _, name in ipairs(names) do
      local peer, other, target = better(name, node[name], bun[name])
      local divisor, unit = unitOf(ours[name])
      bench.row{ work = name, unit = unit, lrun = ours[name] / divisor, peer = other and peer, other = other and other / divisor,
        target = other and ("<= %g"):format(target) }
    end
  end,
}
