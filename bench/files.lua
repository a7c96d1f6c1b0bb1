--- A folder over HTTP beside nginx, Bun and Node: processor time of the server per request, for files of several sizes, a file
--- that the client has, a range, and a file with its gzip beside it; then a large file by stat and pipe, as Node's. On the disk's
--- file system, and what is not huge on tmpfs.
local fs = require("fs")

local CASES = {
  { path = "/4k.bin", work = "4 KiB", limits = { nginx = "<= 1.0", bun = "<= 0.55" } },
  { path = "/100k.bin", work = "100 KiB", limits = { nginx = "<= 1.15" } },
  { path = "/1m.bin", work = "1 MiB", connections = 16, limits = { nginx = "<= 1.15" } },
  { path = "/100m.bin", work = "100 MiB", huge = true, limits = {} },
  { path = "/4k.bin", work = "304", headers = { "If-None-Match: *" }, limits = {} },
  { path = "/1m.bin", work = "a range of 4 KiB", headers = { "Range: bytes=500000-504095" }, limits = {} },
  { path = "/page.css", work = "4 KiB with gzip beside it", headers = { "Accept-Encoding: gzip" }, limits = {} },
}

local PIPED = {
  { path = "/1m.bin", work = "1 MiB by stat and pipe", connections = 16, limits = { node = "<= 0.15" } },
  { path = "/100m.bin", work = "100 MiB by stat and pipe", huge = true, limits = { node = "<= 0.2" } },
}

-- A file of that many bytes that no file system stores as a hole.
local function make(path, size)
  local file = assert(io.open(path, "wb"))
  local block = ("0123456789abcdef"):rep(4096)
  while size > 0 do
    file:write(size >= #block and block or block:sub(1, size))
    size = size - #block
  end
  file:close()
end

local function makeFolder(folder, huge)
  fs.mkdirSync(folder, { recursive = true })
  local sizes = { ["4k.bin"] = 4096, ["100k.bin"] = 102400, ["1m.bin"] = 1048576, ["page.css"] = 20000, ["page.css.gz"] = 4096 }
  if huge then sizes["100m.bin"] = 104857600 end
  for name, size in pairs(sizes) do
    make(folder .. "/" .. name, size)
  end
end

local function program(bench, name, script, folder)
  return function(port)
    local command = name == "lrun" and bench.lrun or bench.find(name)
    if command then return command, { bench.file("bench/programs/" .. script), port, folder } end
  end
end

local function starters(bench, folder)
  return {
    { "lrun", program(bench, "lrun", "files.lua", folder) },
    { "nginx", bench.nginxHandler("root " .. folder .. "; gzip_static on;", "sendfile on;") },
    { "bun", program(bench, "bun", "files.bun.js", folder) },
    { "node", program(bench, "node", "files.js", folder) },
  }
end

local function nameOf(case, place) return ("a file over HTTP, %s, %s: CPU a request"):format(case.work, place) end

local function measure(bench, servers, case, place)
  local huge = case.huge
  local median = bench.load(servers, {
    connections = huge and 2 or case.connections or 64, seconds = huge and 3 or 1, rounds = 3, path = case.path, headers = case.headers,
  })
  local peers, scale = {}, huge and 1000 or 1
  for _, name in ipairs { "nginx", "bun", "node" } do
    if median[name] then peers[#peers + 1] = { name, median[name].cpu / scale, case.limits[name] } end
  end
  bench.compare(nameOf(case, place), huge and "ms" or "µs", median.lrun.cpu / scale, peers)
  return median.lrun.cpu
end

-- The cases of a list that are wanted, beside those of the servers that are there; returns what each cost.
local function measureAll(bench, list, starting, place, huge)
  local cases, spent = {}, {}
  for _, case in ipairs(list) do
    if (huge or not case.huge) and bench.wants(nameOf(case, place)) then cases[#cases + 1] = case end
  end
  if #cases == 0 then return spent end
  local servers = bench.startServers(starting)
  for _, case in ipairs(cases) do spent[case.work] = measure(bench, servers, case, place) end
  for _, server in ipairs(servers) do bench.stop(server) end
  return spent
end

local function measureFolder(bench, folder, place, huge)
  makeFolder(folder, huge)
  local spent = measureAll(bench, CASES, starters(bench, folder), place, huge)
  measureAll(bench, PIPED, {
    { "lrun", program(bench, "lrun", "files-pipe.lua", folder) }, { "node", program(bench, "node", "files.js", folder) },
  }, place, huge)
  fs.rmSync(folder, { recursive = true })
  return spent
end

local function compareHello(bench, spent)
  local hello = bench.startServers { { "hello", bench.servers.lrun } }
  local median = bench.load(hello, { connections = 64, seconds = 1, rounds = 3 })
  bench.row { work = "a 304 : a hello, CPU a request", unit = "µs", lrun = spent, peer = "hello", other = median.hello.cpu, target = "<= 1.3" }
  bench.stop(hello[1])
end

return {
  order = 24,
  needs = { "wrk" },
  run = function(bench)
    local spent = measureFolder(bench, bench.scratch .. "/files", "disk", true)
    if spent["304"] then compareHello(bench, spent["304"]) end
    if pcall(fs.accessSync, "/dev/shm", fs.constants.W_OK) then measureFolder(bench, "/dev/shm/lrun-bench-" .. process.pid, "tmpfs") end
  end,
}
