local await = require("await")
local child_process = require("child_process")
local fs = require("fs")
local json = require("json")

local folder
local function run(code, env)
  local path = folder .. "/main.lua"
  fs.writeFileSync(path, code)
  local all = {}
  for name, value in pairs(process.env) do all[name] = value end
  all.LRUN_LOG = nil
  for name, value in pairs(env or {}) do all[name] = value end
  local result = child_process.spawnSync(process.execPath, { path }, { env = all })
  assert.equal(0, result.status, result.stderr)
  local lines = {}
  for line in result.stderr:gmatch("[^\n]+") do lines[#lines + 1] = line end
  return lines, result
end

describe("log", function()
  setup(function() folder = fs.mkdtempSync("/tmp/lrun-log-") end)
  teardown(function() fs.rmSync(folder, { recursive = true }) end)

  it("writes one line of JSON a call, its own fields above the program's", function()
    local lines = run([[
      local log = require("log")
      log.debug("left out")
      log.info("text\nwith a line", { time = "mine", level = "mine", port = 80, list = { 1 } })
      log.warn("warned")
      log.child{ request = 5 }.error("failed", { code = "X" })
      log:info("with a colon", { a = 1 })
    ]])
    assert.equal(4, #lines)
    local first = json.decode(lines[1])
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$", first.time)
    assert.same({ "info", "text\nwith a line", 80, { 1 } }, { first.level, first.text, first.port, first.list })
    assert.equal("number", type(first.process))
    assert.equal("warn", json.decode(lines[2]).level)
    local third = json.decode(lines[3])
    assert.same({ "error", 5, "X" }, { third.level, third.request, third.code })
    assert.equal("with a colon", json.decode(lines[4]).text)
  end)

  it("goes by LRUN_LOG", function()
    local code = [[
      local log = require("log")
      log.debug("d") log.info("i") log.warn("w") log.error("e", { n = 1, text2 = "two words" })
    ]]
    assert.equal(4, #run(code, { LRUN_LOG = "debug" }))
    assert.equal(1, #run(code, { LRUN_LOG = "error" }))
    local lines = run(code, { LRUN_LOG = "warn,text" })
    assert.equal(2, #lines)
    assert.matches('^%d%d:%d%d:%d%d%.%d%d%d error e n=1 text2="two words"$', lines[2])
    assert.equal(3, #run(code, { LRUN_LOG = "nonsense" }))
  end)

  it("never throws", function()
    local lines = run([[
      local log = require("log")
      local bad = setmetatable({}, { __tostring = function() error("no") end })
      local ring = {}
      ring.ring = ring
      log.info()
      log.info(bad)
      log.info(5, 6)
      log.info("x", { f = print, ring = ring, [ring] = 1, bytes = "\255\0", nan = 0 / 0, e = require("errors").Error:new("m", { code = "C" }) })
      log.child(5).info("y", "no table")
      log.child().info("z", setmetatable({}, { __pairs = error }))
    ]])
    local last
    for _, line in ipairs(lines) do last = json.decode(line) end
    assert.equal("z", last.text)
    local fourth
    for _, line in ipairs(lines) do if line:find('"nan"', 1, true) then fourth = json.decode(line) end end
    assert.same({ message = "m", code = "C" }, fourth.e)
    assert.equal("string", type(fourth.f))
  end)

  it("waits for nobody who does not read, holds a limit, and tells what was lost", function()
    local path = folder .. "/flood.lua"
    fs.writeFileSync(path, [[
      local log = require("log")
      local line = ("x"):rep(1000)
      for i = 1, 5000 do log.info(line, { i = i }) end
      process.stdout:write("done\n")
      process.stdin:on("data", function() end)
    ]])
    local child = child_process.spawn(process.execPath, { path }, { stdio = { "pipe", "pipe", "pipe" } })
    child.stderr:pause()
    assert.equal("done\n", await(function(callback) child.stdout:once("data", callback) end))
    local text = ""
    await(function(callback)
      child.stderr:on("data", function(data)
        text = text .. data
        if text:find('"lost":%d+}\n') then callback() end
      end)
      child.stderr:resume()
    end)
    local lost = tonumber(text:match('"lost":(%d+)'))
    local seen = 0
    for line in text:gmatch("[^\n]+") do
      local entry = json.decode(line)
      if entry.i then
        seen = seen + 1
        assert.equal(seen, entry.i)
      end
    end
    assert.equal(5000, seen + lost)
    assert(seen > 900, seen)
    child.stdin:finish()
    await(function(callback) child:once("close", callback) end)
    assert.equal(0, child.exitCode)
  end)

  it("says which worker wrote", function()
    local lines = run([[
      local cluster, log = require("cluster"), require("log")
      if cluster.isPrimary then cluster.fork() return end
      log.info("from a worker")
      cluster.worker:disconnect()
    ]])
    assert.equal(1, json.decode(lines[1]).worker)
  end)
end)
