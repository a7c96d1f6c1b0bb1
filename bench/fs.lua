--- Files that are in memory, beside Node and Bun: processor time of the whole process for each call, on the disk's file system
--- and on tmpfs. Programs take turns; the least of all rounds counts.
local fs = require("fs")

local ROUNDS = 3

-- Work → of which peer, how much.
local targets = {
  ["fs.stat"] = { node = "<= 0.2" }, ["fs.readFile, 4 KiB"] = { node = "<= 0.15" },
  ["fs.open, read, close"] = { node = "<= 0.15" }, ["fs.readFile, 1 MiB"] = { node = "<= 1" },
  ["fs.readdir, 100 names"] = { node = "<= 0.5" }, ["fs.statSync"] = { bun = "<= 1" }, ["fs.existsSync"] = { bun = "<= 1" },
  ["fs.readFileSync, 4 KiB"] = { bun = "<= 1" },
}

local function prepare(directory)
  fs.mkdirSync(directory .. "/hundred", { recursive = true })
  fs.writeFileSync(directory .. "/small", ("x"):rep(4096))
  fs.writeFileSync(directory .. "/large", ("x"):rep(1024 * 1024))
  for i = 1, 100 do fs.writeFileSync(directory .. "/hundred/name" .. i, "") end
end

local function measure(bench, place, directory)
  prepare(directory)
  local programs = {
    { bench.lrun, bench.file("bench/programs/fs.lua"), {} },
    { bench.find("node"), bench.file("bench/programs/fs.js"), {} },
    { bench.find("bun"), bench.file("bench/programs/fs.js"), {} },
  }
  local names = {}
  for _ = 1, ROUNDS do
    for i, program in ipairs(programs) do
      if program[1] then bench.takeLeast(bench.output(program[1], { program[2], directory }), program[3], i == 1 and names or {}) end
    end
  end
  for _, name in ipairs(names) do
    local target = targets[name] or {}
    bench.compare(name .. ", " .. place, "µs", programs[1][3][name],
      { { "node", programs[2][3][name], target.node }, { "bun", programs[3][3][name], target.bun } })
  end
  fs.rmSync(directory, { recursive = true })
end

return {
  order = 70,
  run = function(bench)
    measure(bench, "disk", bench.scratch .. "/fs")
    if pcall(fs.accessSync, "/dev/shm", fs.constants.W_OK) then measure(bench, "tmpfs", "/dev/shm/lrun-bench-" .. process.pid) end
  end,
}
