--- examples/ratelimit.lua and examples/jobs.lua.
local await = require("await")
local http = require("http")
local json = require("json")
local program = require("spec.support.program")

local server, port

local function start(path)
  port = program.port()
  process.env.PORT = port
  server = program.start(path)
  process.env.PORT = nil
  server:line("(http://localhost:%d+)")
end

local function ask(method, body)
  return await(function(callback)
    local req = http.request({ port = port, method = method }, function(res)
      local text = ""
      res:on("data", function(data) text = text .. data end)
      res:on("end", function() callback(res.statusCode, text, res.headers) end)
    end)
    req:on("error", function(err) callback(nil, err) end)
    req:finish(body)
  end)
end

describe("the examples about state", function()
  after_each(function()
    pcall(server.interrupt, server, "SIGKILL")
    server:gone()
  end)

  it("limit requests over all workers", function()
    start("examples/ratelimit.lua")
    local counts, retry = {}, nil
    for _ = 1, 15 do
      local status, _, headers = ask("GET")
      counts[status] = (counts[status] or 0) + 1
      retry = retry or headers["retry-after"]
    end
    assert(counts[200] >= 10 and (counts[429] or 0) > 0, ("%s allowed"):format(counts[200]))
    assert.equal("1", retry)
  end)

  it("do jobs behind their requests", function()
    start("examples/jobs.lua")
    local status, text = ask("POST", "hello")
    assert.equal(202, status)
    assert.equal("string", type(json.decode(text).id))
    server:line("worker %d+ does job %d+, attempt 1: (hello)")
    status, text = ask("GET")
    assert.equal(200, status)
    assert.equal(0, json.decode(text).failed)
  end)
end)
