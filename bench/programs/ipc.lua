-- ipc.lua WHAT SERIALIZATION SIZE COUNT [CHILDREN]: messages of about SIZE bytes between a process and its children; the
-- twin of ipc.js. Prints messages a second (`oneway` to a child, `fan` from several, `handles`), or microseconds
-- (`roundtrip`, and `objects`: SIZE small objects in one message).
local child_process = require("child_process")
local net = require("net")
local timers = require("timers")

local BATCH = 200 -- messages that are sent before the loop turns

local argv = process.argv
local what, serialization, size, count, children = argv[2], argv[3], tonumber(argv[4]), tonumber(argv[5]), tonumber(argv[6] or 1)
local text = ("x"):rep(math.max(size - 20, 0))

local function message(id) return { cmd = "work", id = id, text = text, list = { 1, 2, 3 } } end

-- Sends `total` messages in batches, and waits for the channel whenever it says that it is full.
local function flood(target, total)
  local sent = 0
  local function batch()
    for _ = 1, math.min(BATCH, total - sent) do
      sent = sent + 1
      if not target:send(message(sent)) then
        target:send(message(0), function() batch() end)
        return
      end
    end
    if sent < total then timers.setImmediate(batch) end
  end
  batch()
end

local roles = {}

function roles.oneway()
  local got = 0
  process:on("message", function(m)
    if m.id == 0 then return end
    got = got + 1
    if got == count then process.send("done") end
  end)
end

function roles.roundtrip()
  process:on("message", function(m) process.send(m) end)
end

roles.objects = roles.roundtrip

function roles.fan()
  process:once("message", function() flood(process, count) end)
end

function roles.handles()
  process:on("message", function(m, handle)
    if handle then handle:close() end
    if m.id == count then process.send("done") end
  end)
end

local function report(started, total)
  local seconds = (process.hrtime() - started) / 1e9
  if what == "roundtrip" or what == "objects" then print(seconds * 1e6 / total) else print(total / seconds) end
  process.exit(0)
end

local measures = {}

function measures.oneway(kids)
  local started = process.hrtime()
  kids[1]:on("message", function() report(started, count) end)
  flood(kids[1], count)
end

local function pingPong(kids, question)
  local started, turns = process.hrtime(), 0
  kids[1]:on("message", function()
    turns = turns + 1
    if turns == count then report(started, count) end
    kids[1]:send(question)
  end)
  kids[1]:send(question)
end

function measures.roundtrip(kids) pingPong(kids, message(1)) end

function measures.objects(kids)
  local list = {}
  for i = 1, size do list[i] = { id = i, name = "item " .. i, price = i * 1.5, sold = i % 2 == 0 } end
  pingPong(kids, list)
end

function measures.fan(kids)
  local started, got = process.hrtime(), 0
  for _, kid in ipairs(kids) do
    kid:on("message", function(m)
      if m.id == 0 then return end
      got = got + 1
      if got == count * children then report(started, got) end
    end)
    kid:send("go")
  end
end

function measures.handles(kids)
  local server = net.createServer()
  server:listen(0, function()
    local started = process.hrtime()
    kids[1]:on("message", function() report(started, count) end)
    for id = 1, count do kids[1]:send({ id = id }, server) end
  end)
end

if process.send then
  process.send("ready")
  roles[what]()
else
  local kids, waiting = {}, children
  for i = 1, children do
    local kid = child_process.fork(argv[1], { what, serialization, argv[4], argv[5], argv[6] },
      { serialization = serialization })
    kids[i] = kid
    kid:once("message", function()
      waiting = waiting - 1
      if waiting == 0 then measures[what](kids) end
    end)
  end
end
