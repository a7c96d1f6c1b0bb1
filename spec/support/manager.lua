--- An LRUN_HOME of a spec's own: commands in it, the apps that they start, clients of these, and an end that leaves no process. All
--- that a home starts has its folder in the environment or the command line; `close` kills what is left and fails for it.
local await = require("await")
local child_process = require("child_process")
local fs = require("fs")
local json = require("json")
local net = require("net")
local servers = require("spec.support.servers")
local uv = require("luv")

local manager = {}

local Home = {}
Home.__index = Home

manager.idle = 'require("timers").setInterval(function() end, 1000)\n'

function manager.slurp(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

--- Waits, a moment at a time, until `condition` gives a true value, and returns that.
function manager.wait(what, condition, limit)
  local deadline = uv.hrtime() + (limit or 20000) * 1e6
  while true do
    local value = condition()
    if value then return value end
    if uv.hrtime() > deadline then error("this never came: " .. what, 2) end
    await.sleep(15)
  end
end

function manager.isAlive(pid)
  local state = pid and (manager.slurp(("/proc/%d/stat"):format(pid)) or ""):match("^.*%) (%a)")
  return state ~= nil and state ~= "Z" and state ~= "X"
end

local function belongs(pid, dir)
  local environment = manager.slurp(("/proc/%d/environ"):format(pid)) or ""
  local command = manager.slurp(("/proc/%d/cmdline"):format(pid)) or ""
  return environment:find(dir, 1, true) ~= nil or command:find(dir, 1, true) ~= nil
end

--- All living processes of the home.
function Home:members()
  local list = {}
  for _, name in ipairs(fs.readdirSync("/proc")) do
    local pid = tonumber(name)
    if pid and pid ~= process.pid and manager.isAlive(pid) and belongs(pid, self.dir) then list[#list + 1] = pid end
  end
  return list
end

--- A fresh home: `dir` is where its commands run, `state` its LRUN_HOME.
---@param name string? of the LRUN_HOME folder
function manager.home(name)
  local dir = fs.realpathSync(fs.mkdtempSync(uv.os_tmpdir() .. "/lrun-manager-"))
  return setmetatable({ dir = dir, state = dir .. "/" .. (name or "state"), children = {} }, Home)
end

function Home:write(name, text)
  local path = self.dir .. "/" .. name
  fs.mkdirSync(path:match("^(.*)/"), { recursive = true })
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

function Home:env(extra)
  local env = {}
  for key, value in pairs(process.env) do env[key] = value end
  env.LRUN_HOME, env.NO_COLOR = self.state, "1"
  for key, value in pairs(extra or {}) do
    if value == false then env[key] = nil else env[key] = value end
  end
  return env
end

--- Starts a command; `out`, `err` gather, `waitFor(pattern)` waits for standard output.
function Home:spawn(args, options)
  options = options or {}
  local words = {}
  for i, each in ipairs(args) do words[i] = tostring(each) end
  local child = child_process.spawn(options.program or process.execPath, words, {
    cwd = options.cwd or self.dir, env = self:env(options.env), stdio = { options.input and "pipe" or "ignore", "pipe", "pipe" },
  })
  child.out, child.err = "", ""
  child.stdout:on("data", function(data) child.out = child.out .. data end)
  child.stderr:on("data", function(data) child.err = child.err .. data end)
  child:on("close", function(code, signal) child.ended = { code = code, signal = signal } end)
  function child.waitFor(pattern)
    return manager.wait(pattern .. " from lrun " .. table.concat(words, " "), function()
      if child.ended and not child.out:find(pattern) then
        error(("lrun %s ended without %s: %s%s"):format(table.concat(words, " "), pattern, child.out, child.err), 0)
      end
      return child.out:match(pattern)
    end)
  end
  if options.input then child.stdin:finish(options.input) end
  self.children[#self.children + 1] = child
  return child
end

--- Runs a command to its end: stdout, stderr, code.
function Home:run(args, options)
  local child = self:spawn(args, options)
  manager.wait("the end of lrun " .. table.concat(args, " "), function() return child.ended end, 40000)
  return child.out, child.err, child.ended.code
end

--- Runs a command that has to succeed.
function Home:ok(args, options)
  local out, err, code = self:run(args, options)
  if code ~= 0 then error(("lrun %s: code %s: %s%s"):format(table.concat(args, " "), tostring(code), out, err), 2) end
  return out, err
end

--- The document of a command with --json.
function Home:json(args, options)
  local copy = { unpack(args) }
  copy[#copy + 1] = "--json"
  return json.decode((self:ok(copy, options)))
end

function Home:start(name, text, ...)
  self:write(name .. ".lua", text)
  return self:ok{ "start", name .. ".lua", "--min-uptime", "50", ... }
end

function Home:app(name)
  for _, app in ipairs(self:json{ "list" }) do if app.name == name then return app end end
end

function Home:pids(name)
  local pids = {}
  for i, each in ipairs(self:app(name).instances) do pids[i] = each.pid or false end
  return pids
end

function Home:daemon() return self:json{ "ping" }.pid end
function Home:keeper(name) return self:json{ "show", name }.keeper end

function Home:waitState(name, state)
  manager.wait(name .. " to be " .. state, function()
    local app = self:app(name)
    return app and app.state == state
  end)
end

function Home:log(name, stream) return manager.slurp(("%s/logs/%s-%s.log"):format(self.state, name, stream or "out")) or "" end

--- Ends all of it; what `lrun kill` leaves is an error.
function Home:close()
  for _, child in ipairs(self.children) do if not child.ended then child:kill("SIGKILL") end end
  local _, err, code = self:run{ "kill" }
  local left = self:members()
  local deadline = uv.hrtime() + 5e9
  while #left > 0 and uv.hrtime() < deadline do
    await.sleep(20)
    left = self:members()
  end
  for _, pid in ipairs(left) do uv.kill(pid, "sigkill") end
  local log = manager.slurp(self.state .. "/lrun.log") or ""
  fs.rmSync(self.dir, { recursive = true, force = true })
  assert(code == 0, "lrun kill: " .. err .. log)
  assert(not log:find("attempt to"), log)
  assert(#left == 0, #left .. " processes were left")
end

--- A server that answers with a version and its pid, on PORT.
function manager.server(version)
  return ([[
local timers = require("timers")
require("http").createServer(function(_, res)
  timers.setTimeout(function() res:finish("%s " .. process.pid .. "\n") end, 10)
end):listen(tonumber(process.env.PORT), "127.0.0.1")
]]):format(version)
end

manager.freePort = servers.freePort

--- One request on a connection of its own: its body, or nil and what failed.
function manager.get(port, path, headers)
  return await(function(done)
    local text, failure = "", nil
    local socket = net.connect(port, "127.0.0.1")
    socket:on("data", function(data) text = text .. data end)
    socket:on("error", function(err) failure = err.code end)
    socket:on("close", function()
      local head, body = text:match("^(.-\r\n)\r\n(.*)$")
      done(body, body and tonumber(head:match("^HTTP/1.1 (%d+)")) or failure or "cut", head)
    end)
    local lines = { ("GET %s HTTP/1.1"):format(path or "/"), "Connection: close" }
    if not headers or not headers.Host then lines[#lines + 1] = "Host: 127.0.0.1:" .. port end
    for name, value in pairs(headers or {}) do lines[#lines + 1] = name .. ": " .. value end
    socket:write(table.concat(lines, "\r\n") .. "\r\n\r\n")
  end)
end

--- Clients that ask again and again, by `ask()` → body, status (on a connection of its own each); `more(n)` waits for so many answers
--- more, `stop()` returns { good, failed, kinds, bodies }.
function manager.load(port, clients, ask)
  ask = ask or function() return manager.get(port) end
  local stats = { good = 0, failed = 0, kinds = {}, bodies = {} }
  local running, stopping = 0, false
  for number = 1, clients or 4 do
    running = running + 1
    await.spawn(function()
      await.sleep(number * 7)
      while not stopping do
        local body, status = ask()
        if body and status == 200 then
          stats.good = stats.good + 1
          local word = body:match("^%S+") or ""
          stats.bodies[word] = (stats.bodies[word] or 0) + 1
        else
          stats.failed = stats.failed + 1
          stats.kinds[tostring(status)] = (stats.kinds[tostring(status)] or 0) + 1
          await.sleep(20)
        end
      end
      running = running - 1
    end)
  end
  function stats.more(n)
    local want = stats.good + n
    manager.wait(n .. " more answers", function() return stats.good >= want end)
  end
  function stats.stop()
    stopping = true
    manager.wait("the last answers", function() return running == 0 end)
    return stats
  end
  return stats
end

return manager
