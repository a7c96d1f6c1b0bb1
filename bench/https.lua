--- HTTPS: kept-alive hello, bodies, full and resumed handshakes, idle connections, the loading of the module.
local uv = require("luv")

local function certificate(bench)
  local cert, key = bench.scratch .. "/tls-cert.pem", bench.scratch .. "/tls-key.pem"
  if not uv.fs_stat(cert) then
    bench.output("openssl", { "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "365",
      "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert })
  end
  return cert, key
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function nginx(bench, cert, key)
  return function(port)
    local command = bench.find("nginx")
    if not command then return nil end
    local directory = bench.scratch .. "/nginx-tls-" .. port
    uv.fs_mkdir(directory, 493)
    write(directory .. "/10k", ("0123456789abcdef"):rep(640))
    write(directory .. "/1m", ("0123456789abcdef"):rep(65536))
    write(directory .. "/nginx.conf", ([[
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  keepalive_requests 1000000000;
  default_type text/plain;
  server {
    listen 127.0.0.1:%d ssl backlog=511;
    ssl_certificate %s; ssl_certificate_key %s;
    ssl_protocols TLSv1.2 TLSv1.3;
    location / { return 200 "hello world\n"; }
    location = /10k { root .; }
    location = /1m { root .; }
  }
}
]]):format(port, cert, key))
    return command, { "-p", directory, "-c", "nginx.conf", "-e", "stderr" }
  end
end

local function script(bench, command, name, cert, key)
  return function(port)
    local path = command == "lrun" and bench.lrun or bench.find(command)
    if not path then return nil end
    local args = { bench.file("bench/programs/" .. name), port, cert, key }
    if command == "deno" then
      table.insert(args, 1, "-A")
      table.insert(args, 1, "run")
    end
    return path, args
  end
end

-- CPU of a server for each of `count` connections that one client makes, one after the other.
local function handshakes(bench, server, count, mode)
  local before = bench.cpu(server.pid)
  bench.output(bench.lrun, { bench.file("bench/programs/handshakes.lua"), tostring(server.port), tostring(count), mode })
  return (bench.cpu(server.pid) - before) * 1e6 / count
end

local function medianOfHandshakes(bench, servers, mode)
  local runs, medians = {}, {}
  for _ = 1, 5 do
    for _, server in ipairs(servers) do
      runs[server.name] = runs[server.name] or {}
      table.insert(runs[server.name], handshakes(bench, server, 400, mode))
    end
  end
  for name, list in pairs(runs) do medians[name] = bench.median(list) end
  return medians
end

local function compareAll(bench, work, unit, medians, targets)
  local peers = {}
  for _, name in ipairs { "nginx", "node", "bun", "deno" } do peers[#peers + 1] = { name, medians[name], targets[name] } end
  bench.compare(work, unit, medians.lrun, peers)
end

local function cpuOf(loaded)
  local medians = {}
  for name, each in pairs(loaded) do medians[name] = each.cpu end
  return medians
end

local CONNECTIONS = 1000

-- Kilobytes of the server's for each idle connection that has had one request.
local function idle(bench, server)
  local before = bench.pss(server.pid)
  local child = require("child_process").spawn(bench.lrun,
    { bench.file("bench/programs/handshakes.lua"), tostring(server.port), tostring(CONNECTIONS), "hold" },
    { stdio = { "ignore", "pipe", "inherit" } })
  require("await")(function(done) child.stdout:once("data", done) end)
  local after = bench.pss(server.pid)
  child:kill("SIGKILL")
  return (after - before) * 1024 / CONNECTIONS
end

local function loading(bench)
  local times = {}
  for i = 1, 21 do
    times[i] = tonumber(bench.output(bench.lrun,
      { "-e", "local b = process.hrtime() require('tls') print((process.hrtime() - b) / 1e6)" }))
  end
  return bench.median(times)
end

return {
  order = 25,
  needs = { "wrk", "openssl" },
  run = function(bench)
    local cert, key = certificate(bench)
    local servers = bench.startServers {
      { "lrun", script(bench, "lrun", "https.lua", cert, key) },
      { "nginx", nginx(bench, cert, key) },
      { "node", script(bench, "node", "https.js", cert, key) },
      { "bun", script(bench, "bun", "https.js", cert, key) },
      { "deno", script(bench, "deno", "https.js", cert, key) },
    }
    local function load(path, headers)
      return cpuOf(bench.load(servers, { connections = 64, seconds = 1, rounds = 5, scheme = "https", path = path, headers = headers }))
    end
    local function compare(work, unit, targets, measure)
      if bench.wants(work) then compareAll(bench, work, unit, measure(), targets) end
    end
    compare("HTTPS hello, keep-alive, 64 connections: CPU a request", "µs", { nginx = "<= 1.0", bun = "<= 1.05", node = "<= 0.42" },
      function() return load("/") end)
    compare("HTTPS, 10 KiB body: CPU a request", "µs", {}, function() return load("/10k") end)
    compare("HTTPS, 1 MiB body: CPU a request", "µs", { node = "<= 0.9" }, function() return load("/1m") end)
    compare("TLS 1.3 full handshake and a request: CPU", "µs", { nginx = "<= 1.0", node = "<= 0.75" },
      function() return medianOfHandshakes(bench, servers, "full") end)
    compare("TLS 1.3 resumed handshake and a request: CPU", "µs", {}, function() return medianOfHandshakes(bench, servers, "resume") end)
    compare("HTTPS: memory of an idle connection", "KiB", {}, function()
      local memory = {}
      for _, server in ipairs(servers) do memory[server.name] = idle(bench, server) end
      bench.row { work = "HTTPS: memory of an idle connection", unit = "KiB", lrun = memory.lrun, target = "<= 20" }
      return memory
    end)
    for _, server in ipairs(servers) do bench.stop(server) end
    local work = 'require("tls")'
    if bench.wants(work) then bench.row { work = work, unit = "ms", lrun = loading(bench), target = "<= 3" } end
  end,
}
