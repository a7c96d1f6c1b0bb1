--- WebSockets in a cluster: what is published reaches the subscribers of all workers, a reload and a disconnect close sockets with
--- 1012, spread, and a worker that is killed harms nobody else's.
local await = require("await")
local child_process = require("child_process")
local children = require("spec.support.children")
local fs = require("fs")
local os = require("os")
local peer = require("spec.support.websocket_peer")

local once, eventually = children.once, children.eventually

-- The primary: forks, tells the port and each worker's end, and does what it is told to.
local PROGRAM = [[
local cluster = require("cluster")
local websocket = require("websocket")
if cluster.isPrimary then
  local count, listening = tonumber(process.env.WORKERS), 0
  cluster:on("listening", function(_, address)
    listening = listening + 1
    if listening == count then process.send{ port = address.port } elseif listening > count then process.send{ more = listening } end
  end)
  cluster:on("exit", function(worker, code, signal) process.send{ exit = worker.id, code = code, signal = signal } end)
  process:on("message", function(message)
    local worker = cluster.workers[message.worker]
    if message.kill then worker.process:kill("SIGKILL") end
    if message.disconnect then worker:disconnect() end
    if message.reload then cluster.reload(message.reload, function(err) process.send{ reloaded = true, err = err and err.message } end) end
  end)
  process:on("disconnect", function() process.exit(0) end)
  for _ = 1, count do cluster.fork() end
else
  local server = websocket.WebSocketServer:new{ port = tonumber(process.env.PORT), host = "127.0.0.1" }
  if process.env.DRAIN then
    cluster.worker:on("drain", function()
      for socket in pairs(server.clients) do socket:close(4000, "by myself") end
    end)
  end
  server:on("connection", function(socket, req)
    socket:subscribe("room")
    socket:send(tostring(cluster.worker.id))
    socket:on("message", function(data)
      if data == "server" then server:publish("room", "from the server") else socket:publish("room", data) end
    end)
  end)
end
]]

describe("WebSockets in a cluster", function()
  local folder, primary, inbox, port

  local function start(workers, env)
    folder = fs.mkdtempSync(os.tmpdir() .. "/lrun-ws-")
    fs.writeFileSync(folder .. "/program.lua", PROGRAM)
    local all = { WORKERS = tostring(workers), PORT = "0" }
    for name, value in pairs(process.env) do all[name] = all[name] or value end
    for name, value in pairs(env or {}) do all[name] = value end
    primary = child_process.fork(folder .. "/program.lua", {}, { env = all })
    inbox = {}
    primary:on("message", function(message) inbox[#inbox + 1] = message end)
    eventually(function() return inbox[1] end)
    port = inbox[1].port
  end

  after_each(function()
    primary:disconnect()
    if primary.exitCode == nil and primary.signalCode == nil then once(primary, "exit") end
    fs.rmSync(folder, { recursive = true })
  end)

  local function told(name)
    local found
    eventually(function()
      for _, message in ipairs(inbox) do if message[name] then found = message end end
      return found
    end)
    return found
  end

  -- `count` clients; each has `home`, its worker.
  local function clients(count)
    local list, homes = {}, {}
    for i = 1, count do
      local connection = peer.connect(port, { name = "client " .. i })
      connection.home = tonumber(connection:next().data)
      homes[connection.home] = (homes[connection.home] or 0) + 1
      list[i] = connection
    end
    return list, homes
  end

  local function leave(list) for _, connection in ipairs(list) do connection:destroy() end end

  it("publish to the subscribers of all workers, each once, in order", function()
    start(3)
    local list, homes = clients(9)
    local used = 0
    for _ in pairs(homes) do used = used + 1 end
    assert.equal(3, used)
    for n = 1, 20 do list[1]:write(peer.client.text("message " .. n)) end
    for i = 2, 9 do
      for n = 1, 20 do list[i]:expect("text message " .. n) end
    end
    list[2]:write(peer.client.text("server"))
    for i = 1, 9 do list[i]:expect("text from the server") end
    for i = 1, 9 do list[i]:write(peer.client.ping("nothing else")):expect("pong nothing else") end
    leave(list)
  end)

  it("go on when a worker is killed", function()
    start(3)
    local list = clients(6)
    local dead = list[1].home
    primary:send{ worker = dead, kill = true }
    told("exit")
    local alive = {}
    for _, connection in ipairs(list) do
      if connection.home == dead then
        connection:wait("the end of a killed worker's", function() end)
        connection:destroy()
      else
        alive[#alive + 1] = connection
      end
    end
    alive[1]:write(peer.client.text("still here"))
    for i = 2, #alive do alive[i]:expect("text still here") end
    leave(alive)
  end)

  -- Until its close: what came, and when.
  local function closing(connection)
    local frame = connection:next()
    local at = process.hrtime() / 1e6
    assert(frame, connection.name .. ": no close frame")
    connection:write(peer.client.close(1000)):expectEnd()
    return peer.describe(frame), at
  end

  it("close with 1012 when their worker disconnects, and it ends", function()
    start(2)
    local list = clients(8)
    local worker = list[1].home
    primary:send{ worker = worker, disconnect = true }
    local rest = {}
    for _, connection in ipairs(list) do
      if connection.home == worker then assert.matches("^close 1012", (closing(connection))) else rest[#rest + 1] = connection end
    end
    local exit = told("exit")
    assert.same({ worker, 0 }, { exit.exit, exit.code })
    rest[1]:write(peer.client.text("still here"))
    for i = 2, #rest do rest[i]:expect("text still here") end
    leave(rest)
  end)

  it("close over half of a reload's drainTimeout, and new ones are taken meanwhile", function()
    start(1)
    local list = clients(20)
    local from = process.hrtime() / 1e6
    primary:send{ reload = { drainTimeout = 2000 } }
    local first, last = math.huge, 0
    local runs = {}
    for i, connection in ipairs(list) do
      runs[i] = function()
        local told_, at = closing(connection)
        assert.matches("^close 1012", told_)
        first, last = math.min(first, at), math.max(last, at)
      end
    end
    await.all(runs)
    assert.is_true(last - first > 300, ("all within %.0f ms"):format(last - first))
    assert.is_true(last - from < 10000)
    assert.is_nil(told("reloaded").err)
    local again = clients(3)
    again[1]:write(peer.client.text("to the new worker's"))
    for i = 2, 3 do again[i]:expect("text to the new worker's") end
    leave(again)
  end)

  it("are left to who listens to the worker's drain", function()
    start(1, { DRAIN = "1" })
    local list = clients(3)
    primary:send{ reload = { drainTimeout = 5000 } }
    for _, connection in ipairs(list) do assert.equal("close 4000 by myself", (closing(connection))) end
    assert.is_nil(told("reloaded").err)
  end)

  it("end with their worker where the client does not answer", function()
    start(1)
    local list = clients(2)
    primary:send{ reload = { drainTimeout = 500, killTimeout = 500 } }
    assert.is_nil(told("reloaded").err)
    for _, connection in ipairs(list) do
      repeat local frame = connection:next() until not frame
      connection:destroy()
    end
  end)
end)
