local await = require("await")
local child_process = require("child_process")
local net = require("net")
local os = require("os")
local program = require("spec.support.program")
local timers = require("timers")

local TRIES = 500 -- of 10 ms: a server that has been started will listen in that time

-- One request on a connection of its own: status and body, or nil and the error.
local function request(port)
  return await(function(callback)
    local received = {}
    local socket = net.connect(port, "127.0.0.1")
    socket:on("data", function(data) received[#received + 1] = data end)
    socket:on("end", function()
      local status, body = table.concat(received):match("^HTTP/1.1 (%d+) .-\r\n\r\n(.*)$")
      callback(tonumber(status), body)
    end)
    socket:on("error", function(err) callback(nil, err) end)
    socket:write("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
  end)
end

-- The first answer of a server that is just starting.
local function firstAnswer(port)
  for _ = 1, TRIES do
    local status, body = request(port)
    if status or body.code ~= "ECONNREFUSED" then return status, body end
    await(function(callback) timers.setTimeout(callback, 10) end)
  end
end

describe("examples/server.lua", function()
  local port, server

  before_each(function()
    port = program.port()
    server = program.start("examples/server.lua", {}, { PORT = port })
  end)

  after_each(function()
    pcall(server.interrupt, server, "SIGKILL")
    server:gone()
  end)

  it("serves from a worker for each processor", function()
    assert.equal(server.child.pid, tonumber((server:line("Primary (%d+) is running"))))
    for _ = 1, #os.cpus() do server:line("Worker (%d+) started") end
    local status, body = firstAnswer(port)
    assert.equal(200, status)
    assert.equal("hello world\n", body)
  end)

  it("replaces a worker that was killed", function()
    local victim = tonumber((server:line("Worker (%d+) started")))
    for _ = 2, #os.cpus() do server:line("Worker (%d+) started") end
    assert.equal(200, (firstAnswer(port)))
    process.kill(victim, "SIGKILL")
    server:line("worker (%d+) died")
    assert.not_equal(victim, tonumber((server:line("Worker (%d+) started"))))
    assert.equal(200, (request(port)))
  end)

  it("ends, and says what is wrong, where another program has the port", function()
    for _ = 1, #os.cpus() do server:line("Worker (%d+) started") end
    local second = child_process.spawn(process.execPath, { "examples/server.lua" }, {
      stdio = { "ignore", "pipe", "pipe" },
      env = setmetatable({}, { __index = process.env, __pairs = function()
        local all = { PORT = port }
        for name, value in pairs(process.env) do all[name] = all[name] or value end
        return next, all, nil
      end }),
    })
    local printed, started = "", 0
    second.stderr:on("data", function(text) printed = printed .. text end)
    second.stdout:on("data", function(text) started = started + select(2, text:gsub("died", "")) end)
    local code = await(function(callback) second:once("close", callback) end)
    assert.equal(1, code)
    assert.equal(#os.cpus(), started)
    assert.matches("EADDRINUSE: address already in use :::" .. port, printed)
    assert.matches("hint: another program has port " .. port, printed)
  end)

  it("ends with all its processes when it is interrupted", function()
    for _ = 1, #os.cpus() do server:line("Worker (%d+) started") end
    server:interrupt("SIGINT")
    local _, signal = server:gone()
    assert.equal("SIGINT", signal)
  end)

  it("leaves no worker behind when the primary is killed", function()
    for _ = 1, #os.cpus() do server:line("Worker (%d+) started") end
    server.child:kill("SIGKILL")
    local _, signal = server:gone()
    assert.equal("SIGKILL", signal)
  end)
end)

describe("README.md", function()
  it("shows the example as it is", function()
    local page = assert(io.open("README.md")):read("*a")
    local example = assert(io.open("examples/server.lua")):read("*a")
    local code = example:gsub("^%-%-[^\n]*\n%-%-[^\n]*\n", "")
    assert.truthy(page:find("```lua\n" .. code .. "```", 1, true), "the example in README.md is another")
  end)
end)
