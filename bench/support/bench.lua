--- What the programs in bench/ are measured with: it starts servers, lets wrk load them, reads what they cost from
--- /proc, and collects the rows of the table. Times are milliseconds unless a name says otherwise.
local await = require("await")
local child_process = require("child_process")
local uv = require("luv")

local bench = {
  root = nil,    -- the checkout; set by run.lua
  lrun = nil,    -- the lrun that is measured; set by run.lua
  scratch = nil, -- a directory for compiled peers and configurations; set by run.lua
  rows = {},     -- of the table, in the order of their measuring
  wanted = nil,  -- a part of the names of the rows that are measured, nil: all; set by run.lua
  skipped = {},  -- names of peers that are not installed → true
}

local CLOCK_TICKS = 100 -- a second, in /proc/<pid>/stat: the same on every Linux that we run on

local running = {} -- children started by bench.start and not yet ended → true

--- Whether the row of this name is to be measured.
---@param work string
---@return boolean
function bench.wants(work) return bench.wanted == nil or work:lower():find(bench.wanted:lower(), 1, true) ~= nil end

--- Tells on stderr what is going on; the table alone goes to stdout.
function bench.say(...)
  io.stderr:write("bench: ", string.format(...), "\n")
end

--- The absolute path of a file in the checkout.
function bench.file(path) return bench.root .. "/" .. path end

---@param list number[] changed: sorted
---@return number median
function bench.median(list)
  table.sort(list)
  local n = #list
  if n % 2 == 1 then return list[(n + 1) / 2] end
  return (list[n / 2] + list[n / 2 + 1]) / 2
end

--- Adds what one run of a program printed, a line of name, tab and figure for each work, to the least of all runs.
---@param text string
---@param least table<string, number> changed
---@param names string[] changed: the works in their order
function bench.takeLeast(text, least, names)
  for name, figure in text:gmatch("([^\n\t]+)\t([%d.e+-]+)\n") do
    if not least[name] then names[#names + 1] = name end
    least[name] = math.min(least[name] or math.huge, tonumber(figure))
  end
end

local function readFile(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

local function writeFile(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

--- Whether a path is that of a program.
function bench.executable(path)
  local stat = uv.fs_stat(path)
  return stat and stat.type == "file" and uv.fs_access(path, "X")
end

--- The path of a command, or nil; then it is named under the table as skipped.
---@param name string
---@return string? path
function bench.find(name)
  for directory in (os.getenv("PATH") or ""):gmatch("[^:]+") do
    local path = directory .. "/" .. name
    if bench.executable(path) then return path end
  end
  if bench.executable("/usr/sbin/" .. name) then return "/usr/sbin/" .. name end
  bench.skipped[name] = true
  return nil
end

--- Runs a command to its end and returns what it wrote to stdout; throws when it failed.
---@param command string
---@param args string[]
---@param options? table of child_process.execFile
---@return string stdout
function bench.output(command, args, options)
  local err, stdout, stderr = await(child_process.execFile, command, args, options or {})
  if err then error(command .. ": " .. tostring(err.message or err) .. "\n" .. tostring(stderr), 0) end
  return stdout
end

--- Compiles bench/peers/<name>.c when that was not done since it changed.
---@param name string
---@param ... string what it is linked with
---@return string path of the program
function bench.compile(name, ...)
  local source, program = bench.file("bench/peers/" .. name .. ".c"), bench.scratch .. "/" .. name
  local from, to = uv.fs_stat(source), uv.fs_stat(program)
  if not to or to.mtime.sec < from.mtime.sec then bench.output("cc", { "-O2", "-o", program, source, ... }) end
  return program
end

-- Processes --------------------------------------------------------------------------------------------------------

-- The fields of /proc/<pid>/stat after the name, which may hold spaces: the first is the state.
local function stat(pid)
  local text = readFile("/proc/" .. pid .. "/stat")
  local rest = text and text:match("%) (.*)$")
  if not rest then return nil end
  local fields = {}
  for field in rest:gmatch("%S+") do fields[#fields + 1] = field end
  return fields
end

--- A process and all that descend from it.
---@param root integer
---@return integer[] pids
function bench.tree(root)
  local children = {}
  local scan = assert(uv.fs_scandir("/proc"))
  for name in uv.fs_scandir_next, scan do
    local fields = name:find("^%d+$") and stat(name)
    if fields then
      local parent = tonumber(fields[2])
      children[parent] = children[parent] or {}
      table.insert(children[parent], tonumber(name))
    end
  end
  local pids = { root }
  for _, pid in ipairs(pids) do -- grows while it runs
    for _, child in ipairs(children[pid] or {}) do pids[#pids + 1] = child end
  end
  return pids
end

--- User and system time of a process, of its descendants, and of those that it has waited for.
---@param root integer
---@return number seconds
function bench.cpu(root)
  local ticks = 0
  for _, pid in ipairs(bench.tree(root)) do
    local fields = stat(pid)
    for i = 12, fields and 15 or 0 do ticks = ticks + tonumber(fields[i]) end
  end
  return ticks / CLOCK_TICKS
end

--- User and system time of one process alone.
---@param pid integer
---@return number seconds
function bench.cpuOf(pid)
  local fields = assert(stat(pid), "no process " .. pid)
  return (tonumber(fields[12]) + tonumber(fields[13])) / CLOCK_TICKS
end

--- The proportional set size of a process: its own pages, and its share of those that others map as well.
---@param pid integer
---@return number megabytes
function bench.pss(pid)
  local text = assert(readFile("/proc/" .. pid .. "/smaps_rollup"), "no smaps_rollup for " .. pid)
  return tonumber(text:match("\nPss:%s*(%d+) kB")) / 1024
end

--- A port of 127.0.0.1 that nobody listens on.
function bench.port()
  local probe = uv.new_tcp()
  assert(probe:bind("127.0.0.1", 0))
  local port = probe:getsockname().port
  probe:close()
  return port
end

local function connects(port)
  return await(function(callback)
    local tcp = uv.new_tcp()
    tcp:connect("127.0.0.1", port, function(err)
      tcp:close()
      callback(not err)
    end)
  end)
end

--- Starts a server and waits until its port answers.
---@param spec { name: string, command: string, args: string[], port: integer, env?: table }
---@return { name: string, pid: integer, port: integer, child: table }
function bench.start(spec)
  local environment = {}
  for name, value in pairs(process.env) do environment[name] = value end
  for name, value in pairs(spec.env or {}) do environment[name] = value end
  local child = child_process.spawn(spec.command, spec.args,
    { stdio = { "ignore", "ignore", "inherit" }, env = environment })
  running[child] = true
  child:on("error", function() running[child] = nil end)
  child:on("exit", function() running[child] = nil end)
  for _ = 1, 500 do
    if connects(spec.port) then return { name = spec.name, pid = child.pid, port = spec.port, child = child } end
    if not running[child] then break end
    await.sleep(20)
  end
  error(spec.name .. " did not start to listen on port " .. spec.port, 0)
end

--- Ends a server that bench.start started.
function bench.stop(server)
  if not running[server.child] then return end
  await(function(callback)
    server.child:once("exit", function() callback() end)
    server.child:kill("SIGTERM")
  end)
end

--- Ends whatever is still running; at the end, and when a program failed.
function bench.stopAll()
  for child in pairs(running) do child:kill("SIGKILL") end
end

-- HTTP -------------------------------------------------------------------------------------------------------------

local nginxModules = "/usr/lib/nginx/modules"

--- Writes a configuration of nginx that answers with a line of text.
---@param port integer
---@param options? { workers?: integer, lua?: boolean, http?: string, handler?: string, answer?: string } `http` are directives beside the server;
---`handler` is what answers, in Lua
---@return string path
local function nginxConfiguration(port, options)
  local directory = bench.scratch .. "/nginx-" .. port
  uv.fs_mkdir(directory, 493)
  local workers, load, answer = 1, "", 'return 200 "hello world\\n";'
  if options and options.workers then workers = options.workers end
  if options and options.answer then answer = options.answer end
  if options and options.lua then
    load = ("load_module %s/ndk_http_module.so;\nload_module %s/ngx_http_lua_module.so;\n"):format(nginxModules,
      nginxModules)
    answer = options.handler or 'content_by_lua_block { ngx.print("hello world\\n") }'
  end
  local text = load .. [[
daemon off;
worker_processes ]] .. workers .. [[;
pid nginx.pid;
error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log off;
  ]] .. (options and options.http or "") .. [[

  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  keepalive_requests 1000000000;
  default_type text/plain;
  server {
    listen 127.0.0.1:]] .. port .. [[ backlog=511;
    location / { ]] .. answer .. [[ }
  }
}
]]
  writeFile(directory .. "/nginx.conf", text)
  return directory
end

--- How to start each server that answers with a line of text, by name: a function of the port that returns command and
--- arguments, or nil when the peer is not installed.
bench.servers = {
  lrun = function(port) return bench.lrun, { bench.file("bench/programs/hello.lua"), port } end,
  node = function(port) return bench.find("node"), { bench.file("bench/programs/hello.js"), port } end,
  bun = function(port) return bench.find("bun"), { bench.file("bench/programs/hello.js"), port } end,
  epoll = function(port) return bench.compile("epoll"), { port } end,
  nginx = function(port)
    local nginx = bench.find("nginx")
    if nginx then return nginx, { "-p", nginxConfiguration(port), "-c", "nginx.conf", "-e", "stderr" } end
  end,
}

--- A server of nginx with its Lua module, as bench.servers' entries.
---@param options? { http?: string, handler?: string } of nginxConfiguration
function bench.nginxLua(options)
  return function(port)
    local nginx = bench.find("nginx")
    if nginx and uv.fs_stat(nginxModules .. "/ngx_http_lua_module.so") then
      local configuration = { lua = true, http = options and options.http, handler = options and options.handler }
      return nginx, { "-p", nginxConfiguration(port, configuration), "-c", "nginx.conf", "-e", "stderr" }
    end
    bench.skipped["nginx with its Lua module"] = true
  end
end
bench.servers["nginx-lua"] = bench.nginxLua()

--- A server of nginx that answers otherwise, as bench.servers' entries.
---@param answer string directives of its location
---@param http string? directives beside the server
function bench.nginxHandler(answer, http)
  return function(port)
    local nginx = bench.find("nginx")
    if nginx then return nginx, { "-p", nginxConfiguration(port, { answer = answer, http = http }), "-c", "nginx.conf", "-e", "stderr" } end
  end
end

--- A server of nginx with several workers, as bench.servers' entries.
function bench.nginxWorkers(workers)
  return function(port)
    local nginx = bench.find("nginx")
    if nginx then
      return nginx, { "-p", nginxConfiguration(port, { workers = workers }), "-c", "nginx.conf", "-e", "stderr" }
    end
  end
end

--- Starts the servers that are installed.
---@param starters { [1]: string, [2]: fun(port: integer): string?, string[]?, [3]?: table }[] name, starter, environment
---@return table[] servers
function bench.startServers(starters)
  local servers = {}
  for _, entry in ipairs(starters) do
    local port = bench.port()
    local command, args = entry[2](port)
    if command then
      for i, argument in ipairs(args) do args[i] = tostring(argument) end
      servers[#servers + 1] = bench.start { name = entry[1], command = command, args = args, port = port,
        env = entry[3] }
    end
  end
  return servers
end

--- One run of wrk.
---@param port integer
---@param options { connections?: integer, seconds?: number, script?: string, headers?: string[], path?: string, scheme?: string }
---@return { requests: number, perSecond: number }
function bench.wrk(port, options)
  local args = { "-t", "1", "-c", tostring(options.connections or 64), "-d", (options.seconds or 1) .. "s" }
  for _, header in ipairs(options.headers or {}) do
    args[#args + 1] = "-H"
    args[#args + 1] = header
  end
  if options.script then
    args[#args + 1] = "-s"
    args[#args + 1] = bench.file("bench/wrk/" .. options.script)
  end
  args[#args + 1] = (options.scheme or "http") .. "://127.0.0.1:" .. port .. (options.path or "/")
  local text = bench.output("wrk", args)
  local bad = text:match("Non%-2xx or 3xx responses: %d+") or (not options.mayFail and text:match("Socket errors: [^\n]*"))
  if bad then error("wrk on port " .. port .. ": " .. bad, 0) end
  return {
    requests = tonumber(text:match("(%d+) requests in")),
    perSecond = tonumber(text:match("Requests/sec:%s*([%d.]+)")),
  }
end

-- A new order, the same in each run of the program: whoever comes behind a server whose threads go on for a while pays for them.
local function shuffle(list)
  for i = #list, 2, -1 do
    local j = math.random(i)
    list[i], list[j] = list[j], list[i]
  end
end

--- Loads servers in turn, several short runs each, in another order each round.
---@param servers table[] from bench.startServers
---@param options table of bench.wrk, and `rounds`
---@return table<string, { cpu: number, perSecond: number }> medians by name: CPU µs a request, requests a second
function bench.load(servers, options)
  local runs = {}
  for _, server in ipairs(servers) do
    runs[server.name] = { cpu = {}, perSecond = {} }
    local warm = setmetatable({ seconds = 1 }, { __index = options })
    bench.wrk(server.port, warm)
  end
  local order = { unpack(servers) }
  math.randomseed(#order)
  for _ = 1, options.rounds or 9 do
    shuffle(order)
    for _, server in ipairs(order) do
      local before = bench.cpu(server.pid)
      local result = bench.wrk(server.port, options)
      local spent = bench.cpu(server.pid) - before
      table.insert(runs[server.name].cpu, spent * 1e6 / result.requests)
      table.insert(runs[server.name].perSecond, result.perSecond)
    end
  end
  local medians = {}
  for name, run in pairs(runs) do
    medians[name] = { cpu = bench.median(run.cpu), perSecond = bench.median(run.perSecond) }
  end
  return medians
end

-- The table --------------------------------------------------------------------------------------------------------

--- Adds a row. `target` is for the ratio lrun : peer or, without a peer, for the figure itself.
---@param row { work: string, unit: string, lrun: number, peer?: string, other?: number, target?: string }
---`target` is "<= 0.45" or ">= 5", or nil: only told
function bench.row(row)
  bench.rows[#bench.rows + 1] = row
  if row.peer then
    bench.say("%s: lrun %.4g, %s %.4g %s, ratio %.3g", row.work, row.lrun, row.peer, row.other, row.unit,
      row.lrun / row.other)
  else
    bench.say("%s: %.4g %s", row.work, row.lrun, row.unit)
  end
end

--- A row for each peer that was measured.
---@param work string
---@param unit string
---@param lrun number
---@param peers { [1]: string, [2]: number?, [3]: string? }[] name, figure (nil: not measured), target
function bench.compare(work, unit, lrun, peers)
  for _, peer in ipairs(peers) do
    if peer[2] then
      bench.row { work = work, unit = unit, lrun = lrun, peer = peer[1], other = peer[2], target = peer[3] }
    end
  end
end

return bench
