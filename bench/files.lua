--- A folder over HTTP beside nginx, Bun and Node: processor time of the server per request, for files of several sizes, a file
--- that the client has, a range, and a file with its gzip beside it.
local uv = require("luv")

local CASES = {
  { path = "/4k.bin", work = "4 KiB", limits = { nginx = "<= 1.0", bun = "<= 0.55" } },
  { path = "/100k.bin", work = "100 KiB", limits = { nginx = "<= 1.15" } },
  { path = "/1m.bin", work = "1 MiB", connections = 16, limits = { nginx = "<= 1.15" } },
  { path = "/100m.bin", work = "100 MiB", connections = 2, seconds = 3, limits = {}, scale = 1000, unit = "ms" },
  { path = "/4k.bin", work = "304", headers = { "If-None-Match: *" }, limits = {} },
  { path = "/1m.bin", work = "a range of 4 KiB", headers = { "Range: bytes=500000-504095" }, limits = {} },
  { path = "/page.css", work = "4 KiB with gzip beside it", headers = { "Accept-Encoding: gzip" }, limits = {} },
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

local function makeFolder(folder)
  uv.fs_mkdir(folder, 493)
  local sizes = {
    ["4k.bin"] = 4096, ["100k.bin"] = 102400, ["1m.bin"] = 1048576, ["100m.bin"] = 104857600, ["page.css"] = 20000, ["page.css.gz"] = 4096,
  }
  for name, size in pairs(sizes) do
    make(folder .. "/" .. name, size)
  end
end

local function starters(bench, folder)
  local function program(name, script)
    return function(port)
      local command = name == "lrun" and bench.lrun or bench.find(name)
      if command then return command, { bench.file("bench/programs/" .. script), port, folder } end
    end
  end
  return {
    { "lrun", program("lrun", "files.lua") },
    { "nginx", bench.nginxHandler("root " .. folder .. "; gzip_static on;", "sendfile on;") },
    { "bun", program("bun", "files.bun.js") },
    { "node", program("node", "files.js") },
  }
end

local function measure(bench, servers, case)
  local median = bench.load(servers, {
    connections = case.connections or 64, seconds = case.seconds or 1, rounds = 3, path = case.path, headers = case.headers,
  })
  local peers, scale = {}, case.scale or 1
  for _, name in ipairs { "nginx", "bun", "node" } do
    peers[#peers + 1] = { name, median[name] and median[name].cpu / scale, case.limits[name] }
  end
  bench.compare("a file over HTTP, " .. case.work .. ": CPU a request", case.unit or "µs", median.lrun.cpu / scale, peers)
  return median.lrun.cpu
end

return {
  order = 24,
  needs = { "wrk" },
  run = function(bench)
    local folder = bench.scratch .. "/files"
    makeFolder(folder)
    local servers = bench.startServers(starters(bench, folder))
    local spent = {}
    for _, case in ipairs(CASES) do spent[case.work] = measure(bench, servers, case) end
    local hello = bench.startServers { { "hello", bench.servers.lrun } }
    local median = bench.load(hello, { connections = 64, seconds = 1, rounds = 3 })
    bench.row { work = "a 304 : a hello, CPU a request", unit = "µs", lrun = spent["304"], peer = "hello", other = median.hello.cpu,
      target = "<= 1.3" }
    for _, server in ipairs(servers) do bench.stop(server) end
    bench.stop(hello[1])
    for name in uv.fs_scandir_next, assert(uv.fs_scandir(folder)) do uv.fs_unlink(folder .. "/" .. name) end
  end,
}
