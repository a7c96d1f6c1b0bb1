local await = require("await")
local http = require("http")
local net = require("net")
local process = require("process")
local timers = require("timers")
local servers = require("spec.support.servers")

describe("http.Agent", function()
  local agent

  after_each(function()
    agent:destroy()
    servers.close()
  end)

  local function serve(listener) return (servers.serve(listener or function(req, res) res:finish(req.url) end)) end

  -- Starts a GET; calls back with the body or the error.
  local function get(options, done)
    options.host, options.agent = "127.0.0.1", agent
    local request = http.get(options, function(response)
      response:on("data", function(text) done(text) end)
    end)
    request:on("error", done)
    return request
  end

  it("closes an idle connection when another place needs one of maxTotalSockets", function()
    agent = http.Agent:new { keepAlive = true, maxTotalSockets = 1 }
    local ports, seen = { serve(), serve(), serve() }, {}
    assert.equal("/first", await(function(done) get({ port = ports[1], path = "/first" }, done) end))
    await(function(done)
      for i, port in ipairs(ports) do
        get({ port = port, path = "/" .. i }, function(text)
          seen[#seen + 1] = text
          if #seen == 3 then done() end
        end)
      end
    end)
    table.sort(seen)
    assert.same({ "/1", "/2", "/3" }, seen)
  end)

  it("serves a waiting place that has room when another has none", function()
    agent = http.Agent:new { maxSockets = 1, maxTotalSockets = 2 }
    local held, third = {}, nil
    local busy = serve(function(_, res) held[#held + 1] = res end)
    local other, last = serve(), serve()
    local function ignore() end
    get({ port = busy }, ignore)
    get({ port = busy }, ignore)
    await(function(done)
      get({ port = other, path = "/other" }, ignore)
      get({ port = last, path = "/last" }, function(text) third = text done() end)
    end)
    assert.equal("/last", third)
    for _, res in ipairs(held) do res:finish("x") end
  end)

  it("takes a connection that createConnection makes later, or its error", function()
    agent = http.Agent:new()
    local port = serve()
    local function later(err, connects)
      return function(options, callback)
        process.nextTick(function()
          callback(err, connects and net.connect { port = options.port, host = options.host } or nil)
        end)
      end
    end
    assert.equal("/", await(function(done) get({ port = port, createConnection = later(nil, true) }, done) end))
    assert.equal("none", await(function(done) get({ port = port, createConnection = later("none") }, done) end))
    local err = await(function(done) get({ port = port, createConnection = function() return {} end }, done) end)
    assert.equal("ERR_INVALID_ARG_TYPE", err.code)
    agent.createConnection = function(_, options, callback) later(nil, true)(options, callback) end
    assert.equal("/", await(function(done) get({ port = port }, done) end))
    assert.same({}, agent.requests)
  end)

  it("passes its timeout on to requests", function()
    agent = http.Agent:new { timeout = 20 }
    local port = serve(function() end)
    local request
    local err = await(function(done)
      request = get({ port = port }, done)
      request:once("timeout", function() request:destroy() end)
    end)
    assert.equal("ECONNRESET", err.code)
  end)

  it("lets a request go that was destroyed before it had a connection", function()
    agent = http.Agent:new { keepAlive = true }
    local port = serve()
    local function events(act)
      local list = {}
      local request = http.get { host = "127.0.0.1", port = port, agent = agent }
      for _, name in ipairs { "abort", "error", "close" } do
        request:on(name, function() list[#list + 1] = name end)
      end
      act(request)
      await(function(done) timers.setImmediate(function() timers.setImmediate(done) end) end)
      return list
    end
    assert.same({ "abort", "close" }, events(function(request) request:abort() end))
    assert.same({ "error", "close" }, events(function(request) request:destroy() end))
  end)
end)
