--- A cluster whose processes do what a spec tells them: `start(functions, options)` writes a program with the functions' source, runs it
--- as a primary with workers, and `run(i, name, …)` calls one in worker i (0: the primary) and awaits its result.
local await = require("await")
local child_process = require("child_process")
local fs = require("fs")

local program = {}

local HARNESS = [[
local cluster, await, bus = require("cluster"), require("await"), require("bus")
local url = process.env.SPEC_BUS
bus.connect(url ~= "" and url or nil)
local function report(...) process.send({ report = { cluster.isWorker and cluster.worker.id or 0, ... } }) end
local functions = (function()
%s
end)()
local function run(message)
  await.spawn(function()
    local results = { pcall(functions[message.name], unpack(message.args, 1, message.n)) }
    for i = 2, 4 do
      if type(results[i]) == "table" and results[i].code then results[i] = { code = results[i].code, message = results[i].message } end
    end
    process.send({ id = message.id, results = results })
  end)
end
if cluster.isWorker then
  process:on("message", run)
  process.send({ up = cluster.worker.id })
  return
end
cluster:on("message", function(_, message) process.send(message) end)
process:on("message", function(message)
  if message.to == 0 then return run(message) end
  if message.kill then return cluster.workers[message.kill].process:kill("SIGKILL") end
  cluster.workers[message.to]:send(message)
end)
process:on("disconnect", function() process.exit(0) end)
for _ = 1, tonumber(process.env.SPEC_WORKERS) do cluster.fork() end
process.send({ up = 0 })
]]

local Program = {}
Program.__index = Program

---@param source string Lua: the body of a function that returns a table of functions
---@param options { url: string?, workers: integer?, netns: string? } `netns`: the network namespace it runs in
function program.start(source, options)
  local folder = fs.mkdtempSync("/tmp/lrun-bus-")
  local path = folder .. "/program.lua"
  fs.writeFileSync(path, HARNESS:format(source:gsub("%%", "%%%%")))
  local env = {}
  for name, value in pairs(process.env) do env[name] = value end
  env.SPEC_BUS, env.SPEC_WORKERS = options.url or "", tostring(options.workers or 2)
  local self = setmetatable({ folder = folder, asked = {}, lastId = 0, reports = {} }, Program)
  local how = { env = env, serialization = "lua" }
  if options.netns then how.execPath, how.execArgv = "ip", { "netns", "exec", options.netns, process.execPath } end
  self.child = child_process.fork(path, {}, how)
  local up, ready = 0, nil
  self.child:on("message", function(message)
    if message.up then
      up = up + 1
      if up == (options.workers or 2) + 1 and ready then ready() end
    elseif message.report then
      table.insert(self.reports, message.report)
      if self.look then self.look() end
    elseif self.asked[message.id] then
      local callback = self.asked[message.id]
      self.asked[message.id] = nil
      callback(message.results)
    end
  end)
  await(function(callback) ready = callback end)
  return self
end

--- Calls a function in a worker; what it threw is thrown here.
function Program:run(to, name, ...)
  local n, args = select("#", ...), { ... }
  self.lastId = self.lastId + 1
  local id = self.lastId
  local results = await(function(callback)
    self.asked[id] = callback
    self.child:send{ to = to, name = name, args = args, n = n, id = id }
  end)
  if not results[1] then error(results[2], 0) end
  return unpack(results, 2, 5)
end

function Program:kill(worker) self.child:send{ kill = worker } end

--- Waits until `done(reports)`.
function Program:wait(done)
  await(function(callback)
    function self.look()
      if not done(self.reports) then return end
      self.look = nil
      callback()
    end
    self.look()
  end)
end

function Program:stop()
  if self.child.exitCode == nil and self.child.signalCode == nil then
    self.child:kill("SIGKILL")
    await(function(callback) self.child:once("exit", callback) end)
  end
  fs.rmSync(self.folder, { recursive = true })
end

return program
