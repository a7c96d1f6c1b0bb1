--- Many small works beside Node and Bun: timers, awaits, events, text, JSON, files, streams, sockets, messages. One row a
--- work, beside the better of both, so that the next one that falls behind is seen; the rows of lua-cjson's beside it.
--- Each group of works has a process of its own, and heaps are collected before each work, so that a group pays for nothing
--- that another one left. Programs take turns, another one first each time; the least of all rounds counts.
local ROUNDS = 3
local GROUPS = { "timers", "events", "text", "JSON", "files", "sockets", "processes" }

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
local function run(bench, command, ...)
  return bench.output("/bin/sh", { "-c", '{ "$0" "$@" 2>&3 | cat >/dev/null; } 3>&1', command, ... })
end

-- What is installed: the command's name, what it is called with before directory and group, and its figures.
local function runtimes(bench)
  local list = { { "lrun", { bench.lrun, bench.file("bench/programs/sweep.lua") }, {} } }
  for _, peer in ipairs{ { "node", "--expose-gc" }, { "bun" } } do
    local command = bench.find(peer[1])
    local words = { command, peer[2] }
    words[#words + 1] = bench.file("bench/programs/sweep.js")
    if command then list[#list + 1] = { peer[1], words, {} } end
  end
  return list
end

local function measureGroup(bench, list, group, first, names)
  for turn = 0, #list - 1 do
    local runtime = list[(first + turn) % #list + 1]
    local words = { unpack(runtime[2]) }
    words[#words + 1], words[#words + 2] = bench.scratch, group
    bench.takeLeast(run(bench, unpack(words)), runtime[3], runtime[1] == "lrun" and names or {})
  end
end

-- What lua-cjson takes for two of the works; nothing where it or LuaJIT's own program is not installed.
local function measureCjson(bench, figures)
  local luajit = bench.find("luajit")
  if not luajit or not pcall(bench.output, luajit, { "-e", 'require("cjson")' }) then return end
  bench.takeLeast(run(bench, luajit, bench.file("bench/programs/cjson.lua")), figures, {})
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
    local list, names, cjson = runtimes(bench), {}, {}
    for round = 1, ROUNDS do
      for i, group in ipairs(GROUPS) do measureGroup(bench, list, group, round + i, names) end
      measureCjson(bench, cjson)
    end
    local figures = {}
    for _, runtime in ipairs(list) do figures[runtime[1]] = runtime[3] end
    local node, bun = figures.node or {}, figures.bun or {}
    for _, name in ipairs(names) do
      local ours = figures.lrun[name]
      local peer, other, target = better(name, node[name], bun[name])
      local divisor, unit = unitOf(ours)
      bench.row{ work = name, unit = unit, lrun = ours / divisor, peer = other and peer, other = other and other / divisor,
        target = other and ("<= %g"):format(target) }
      if cjson[name] then
        bench.row{ work = name, unit = unit, lrun = ours / divisor, peer = "lua-cjson", other = cjson[name] / divisor, target = "<= 1" }
      end
    end
  end,
}
