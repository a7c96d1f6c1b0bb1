--- TLS over a cluster: sessions of one worker resume at another, also across a change of keys; certificate files that change
--- reach all workers by the primary, and what cannot be used is told once and changes nothing.
local pki = require("spec.support.pki")
pki.need()
local await = require("await")
local child_process = require("child_process")
local fs = require("fs")
local support = require("spec.support.tls")

local WORKER = [[
local cluster = require("cluster")
if cluster.isPrimary then
  cluster.setupPrimary{ ticketRotation = tonumber(process.argv[4]) }
  local left, port = 2, nil
  for _ = 1, 2 do
    cluster.fork():on("listening", function(address)
      port, left = address.port, left - 1
      if left == 0 then process.send{ port = port } end
    end)
  end
  process:on("message", function() cluster.disconnect(function() process.disconnect() end) end)
  return
end
require("tls").createServer({ certFile = process.argv[2], keyFile = process.argv[3], watch = true }, function(socket)
  socket:on("error", function() end)
  socket:finish(tostring(cluster.worker.id))
  socket:resume()
end):listen(0, "127.0.0.1")
]]

-- A cluster of two workers; its port, and what it prints to stderr in `warnings`.
local function start(certFile, keyFile, rotation)
  local script = pki.write(pki.folder() .. "/cluster.lua", WORKER)
  local child = child_process.fork(script, { certFile, keyFile, tostring(rotation) }, { silent = true })
  local run = { child = child, warnings = "" }
  child.stdout:resume()
  child.stderr:on("data", function(data) run.warnings = run.warnings .. data end)
  local _, message = support.first(child, "message")
  run.port = message.port
  return run
end

local function stop(run)
  run.child:send("stop")
  support.first(run.child, "exit")
end

-- Visits; whether the session was taken up, the newest one, who served, the certificate's name.
local function visit(run, session)
  local new
  local client = require("tls").connect{ port = run.port, host = "127.0.0.1", ca = pki.ca.cert, session = session }
  client:on("session", function(one) new = one end)
  support.first(client, "secureConnect")
  local reused, name = client:isSessionReused(), client:getPeerCertificate().subject.CN
  local id = support.drain(client)
  support.closed(client)
  return reused, new or session, id, name
end

describe("TLS over a cluster", function()
  local certFile, keyFile

  before_each(function()
    certFile = pki.write(pki.folder() .. "/live.pem", pki.server.cert)
    keyFile = pki.write(pki.folder() .. "/live.key", pki.server.key)
  end)

  it("resumes sessions at any worker, also when the keys change", function()
    local run = start(certFile, keyFile, 100)
    local _, session = visit(run)
    local served, resumed = {}, 0
    for _ = 1, 40 do
      local reused, newer, id = visit(run, session)
      session, served[id], resumed = newer, true, resumed + (reused and 1 or 0)
      await.sleep(5)
    end
    assert.same({ ["1"] = true, ["2"] = true }, served)
    assert.equal(40, resumed)
    stop(run)
  end)

  it("gives all workers the files that have changed, and keeps the old ones when they do not fit", function()
    local run = start(certFile, keyFile, 60000)
    pki.write(keyFile, pki.renewed.key)            -- of another certificate until the second is written
    pki.write(certFile .. ".new", pki.renewed.cert)
    fs.renameSync(certFile .. ".new", certFile)
    local renewed = {}
    while not (renewed["1"] and renewed["2"]) do
      local _, _, id, name = visit(run)
      if name == "renewed.test" then renewed[id] = true end
      await.sleep(5)
    end
    pki.write(certFile, pki.alpha.cert)
    while not run.warnings:find("cannot be used", 1, true) do await.sleep(10) end
    assert.equal("renewed.test", (select(4, visit(run))))
    stop(run)
  end)
end)
