--- What bench/fs.lua measures: a line for each work, its name and the microseconds of processor time for one call.
local await = require("await")
local fs = require("fs")

local directory = process.argv[2]
local small, large, hundred = directory .. "/small", directory .. "/large", directory .. "/hundred"

local function spent()
  local usage = process.cpuUsage()
  return usage.user + usage.system
end

local function work(name, calls, f)
  f(math.floor(calls / 5))
  local before = spent()
  f(calls)
  print(("%s\t%.3f"):format(name, (spent() - before) / calls))
end

work("fs.stat", 10000, function(n) for _ = 1, n do await(fs.stat, small) end end)
work("fs.readFile, 4 KiB", 5000, function(n) for _ = 1, n do await(fs.readFile, small) end end)
work("fs.open, read, close", 5000, function(n)
  for _ = 1, n do
    local _, fd = await(fs.open, small)
    await(fs.read, fd, 4096, 0)
    await(fs.close, fd)
  end
end)
work("fs.readFile, 1 MiB", 400, function(n) for _ = 1, n do await(fs.readFile, large) end end)
work("fs.readdir, 100 names", 3000, function(n) for _ = 1, n do await(fs.readdir, hundred) end end)
work("fs.statSync", 30000, function(n) for _ = 1, n do fs.statSync(small) end end)
work("fs.existsSync", 30000, function(n) for _ = 1, n do fs.existsSync(small) end end)
work("fs.readFileSync, 4 KiB", 20000, function(n) for _ = 1, n do fs.readFileSync(small) end end)
work("fs.readdirSync, 100 names", 3000, function(n) for _ = 1, n do fs.readdirSync(hundred) end end)
