-- sweep.lua: many small works; the twin of sweep.js. `sweep.lua DIRECTORY [GROUP]`, or a part of a work's name in the place of
-- the group. Prints a line for each work: its name, a tab, and the nanoseconds that one took, the least of several rounds.
local await = require("await")
local base64 = require("base64")
local child_process = require("child_process")
local events = require("events")
local fs = require("fs")
local http = require("http")
local inspect = require("inspect")
local json = require("json")
local net = require("net")
local path = require("path")
local querystring = require("querystring")
local stream = require("stream")
local timers = require("timers")
local url = require("url")

local ROUNDS = 3

local scratch = process.argv[2]         -- a directory
local only = process.argv[3]

if process.argv[2] == "child" then
  process:on("message", function(m) process.send(m) end)
  return
end

local works, group = {}, nil

-- `f(count, done)` does it `count` times; without `done` in its parameters it does so at once.
local function work(name, count, f) works[#works + 1] = { name = name, group = group, count = count, f = f } end
local function now(name, count, f)
  work(name, count, function(n, done)
    f(n)
    done()
  end)
end

local function nothing() end

-- timers, ticks, await ------------------------------------------------------------------------------------------------

group = "timers"

now("timeout set and cleared", 100000, function(n)
  for _ = 1, n do timers.clearTimeout(timers.setTimeout(nothing, 1000)) end
end)
now("timeouts set, then cleared", 100000, function(n)
  local list = {}
  for i = 1, n do list[i] = timers.setTimeout(nothing, 1000) end
  for i = 1, n do timers.clearTimeout(list[i]) end
end)
now("timeouts of many durations", 20000, function(n)
  local list = {}
  for i = 1, n do list[i] = timers.setTimeout(nothing, 1000 + i % 977) end
  for i = 1, n do timers.clearTimeout(list[i]) end
end)
work("timeout that fires", 10000, function(n, done)
  local left = n
  local function fired()
    left = left - 1
    if left == 0 then done() end
  end
  for _ = 1, n do timers.setTimeout(fired, 1) end
end)
work("immediate after immediate", 50000, function(n, done)
  local i = 0
  local function step()
    i = i + 1
    if i < n then timers.setImmediate(step) else done() end
  end
  step()
end)
work("immediates at once", 50000, function(n, done)
  local left = n
  local function step()
    left = left - 1
    if left == 0 then done() end
  end
  for _ = 1, n do timers.setImmediate(step) end
end)
work("tick after tick", 100000, function(n, done)
  local i = 0
  local function step()
    i = i + 1
    if i < n then process.nextTick(step) else timers.setImmediate(done) end
  end
  step()
end)
work("await, at once", 200000, function(n, done)
  local function f(callback) callback(nil, 1) end
  for _ = 1, n do await(f) end
  done()
end)
work("await, an immediate later", 20000, function(n, done)
  for _ = 1, n do await(timers.setImmediate) end
  done()
end)
work("task that ends at once", 100000, function(n, done)
  for _ = 1, n do await.spawn(nothing) end
  done()
end)

-- events --------------------------------------------------------------------------------------------------------------

group = "events"

now("emit, one listener", 1000000, function(n)
  local emitter, sum = events.EventEmitter:new(), 0
  emitter:on("x", function(a, b) sum = sum + a + b end)
  for i = 1, n do emitter:emit("x", i, 1) end
end)
now("emit, four listeners", 300000, function(n)
  local emitter, sum = events.EventEmitter:new(), 0
  for _ = 1, 4 do emitter:on("x", function(a, b) sum = sum + a + b end) end
  for i = 1, n do emitter:emit("x", i, 1) end
end)
now("once, and emit", 200000, function(n)
  local emitter = events.EventEmitter:new()
  for _ = 1, n do
    emitter:once("x", nothing)
    emitter:emit("x")
  end
end)
now("listener added and removed", 200000, function(n)
  local emitter = events.EventEmitter:new()
  for _ = 1, n do emitter:on("x", nothing):off("x", nothing) end
end)

-- text ----------------------------------------------------------------------------------------------------------------

group = "text"

local LINE = "GET /a/path?with=query&and=more HTTP/1.1 and some words of a line that is split"

now("split a line", 100000, function(n)
  for _ = 1, n do
    local parts = {}
    for word in LINE:gmatch("%S+") do parts[#parts + 1] = word end
    assert(parts[1] == "GET")
  end
end)
now("join ten pieces", 200000, function(n)
  local parts = {}
  for i = 1, 10 do parts[i] = "piece" .. i end
  for _ = 1, n do table.concat(parts, ",") end
end)
now("append to a text", 300000, function(n)
  local text = {}
  for i = 1, n do text[#text + 1] = "line " .. i .. "\n" end
  table.concat(text)
end)
now("bytes of a text", 100, function(n)
  local text = ("abcdefghij"):rep(10000)
  local sum = 0
  for _ = 1, n do
    for i = 1, #text do sum = sum + text:byte(i) end
  end
end)
now("base64 of 10 KiB, and back", 5000, function(n)
  local bytes = ("\0\1\254\255xyz!"):rep(1280)
  for _ = 1, n do base64.decode(base64.encode(bytes)) end
end)
now("format a line", 300000, function(n)
  for i = 1, n do local _ = ("%s %d %s"):format("name", i, "value") end
end)
now("path.join", 100000, function(n) for _ = 1, n do path.join("/a/b", "../c", "./d.txt") end end)
now("URL of a text", 50000, function(n)
  for _ = 1, n do url.URL:new("https://user@example.com:8080/a/b?x=1&y=2#top") end
end)
now("querystring.parse", 50000, function(n) for _ = 1, n do querystring.parse("a=1&b=two+words&c=%C3%A9&d=") end end)
now("inspect a value", 10000, function(n)
  local value = { id = 1, name = "a name", list = { 1, 2, 3 }, inner = { deep = { er = true } } }
  for _ = 1, n do inspect.inspect(value) end
end)

-- JSON ----------------------------------------------------------------------------------------------------------------

group = "JSON"

local SMALL = { id = 12345, name = "a user's name", email = "someone@example.com", active = true, score = 98.5,
  tags = { "one", "two", "three" }, address = { city = "Berlin", zip = "10115" } }
local many, fractions = {}, {}
for i = 1, 1000 do many[i] = { id = i, name = "item " .. i, on = i % 2 == 0 } end
for i = 1, 9000 do fractions[i] = i / 7 end
local smallText, manyText, fractionsText = json.encode(SMALL), json.encode(many), json.encode(fractions)

now("JSON of a small object", 100000, function(n) for _ = 1, n do json.encode(SMALL) end end)
now("small object of JSON", 100000, function(n) for _ = 1, n do json.decode(smallText) end end)
now("JSON of 1,000 objects", 200, function(n) for _ = 1, n do json.encode(many) end end)
now("1,000 objects of JSON", 200, function(n) for _ = 1, n do json.decode(manyText) end end)
now("JSON of 9,000 fractions", 50, function(n) for _ = 1, n do json.encode(fractions) end end)
now("9,000 fractions of JSON", 50, function(n) for _ = 1, n do json.decode(fractionsText) end end)

-- files ---------------------------------------------------------------------------------------------------------------

group = "files"

local file = scratch .. "/4k"
fs.writeFileSync(file, ("x"):rep(4096))

now("fs.statSync", 30000, function(n) for _ = 1, n do fs.statSync(file) end end)
now("fs.existsSync", 30000, function(n) for _ = 1, n do fs.existsSync(file) end end)
now("fs.readFileSync, 4 KiB", 20000, function(n) for _ = 1, n do fs.readFileSync(file) end end)
now("fs.writeFileSync, 4 KiB", 5000, function(n)
  local data = ("y"):rep(4096)
  for _ = 1, n do fs.writeFileSync(scratch .. "/out", data) end
end)
now("fs.readdirSync", 5000, function(n) for _ = 1, n do fs.readdirSync("/") end end)
work("fs.stat", 5000, function(n, done)
  for _ = 1, n do await(fs.stat, file) end
  done()
end)
work("fs.readFile, 4 KiB", 3000, function(n, done)
  for _ = 1, n do await(fs.readFile, file) end
  done()
end)

-- streams, sockets ----------------------------------------------------------------------------------------------------

group = "sockets"

work("chunks through a PassThrough", 50000, function(n, done)
  local through, left = stream.PassThrough:new(), n
  through:on("data", function() end):on("end", done)
  local chunk = ("x"):rep(1024)
  local function write()
    while left > 0 do
      left = left - 1
      if not through:write(chunk) then return through:once("drain", write) end
    end
    through:finish()
  end
  write()
end)

local HOST = "127.0.0.1"

local function serve(server, done) server:listen(0, HOST, function() done(server:address().port) end) end

work("bytes there and back, one socket", 5000, function(n, done)
  local server = net.createServer(function(socket) socket:pipe(socket) end)
  serve(server, function(port)
    local left, socket = n, net.connect(port, HOST)
    socket:on("data", function()
      left = left - 1
      if left > 0 then return socket:write("ping") end
      socket:finish()
      server:close(done)
    end)
    socket:write("ping")
  end)
end)
local mebibyte = {}
for i = 1, 1024 * 1024 / 8 do mebibyte[i] = ("%08x"):format(i) end
mebibyte = table.concat(mebibyte)

work("1 MiB written to a socket", 100, function(n, done)
  local server = net.createServer(function(socket)
    local left = n
    local function write()
      while left > 0 do
        left = left - 1
        if not socket:write(mebibyte) then return socket:once("drain", write) end
      end
      socket:finish()
    end
    write()
  end)
  serve(server, function(port)
    local got, socket = 0, net.connect(port, HOST)
    socket:on("data", function(data) got = got + #data end)
    socket:on("close", function()
      assert(got == n * #mebibyte)
      server:close(done)
    end)
  end)
end)
work("connect and close", 500, function(n, done)
  local server = net.createServer(function(socket) socket:finish() socket:resume() end)
  serve(server, function(port)
    local left = n
    local function connect()
      local socket = net.connect(port, HOST)
      socket:resume()
      socket:on("close", function()
        left = left - 1
        if left > 0 then connect() else server:close(done) end
      end)
    end
    connect()
  end)
end)
work("http.get, kept alive", 2000, function(n, done)
  local agent = http.Agent:new{ keepAlive = true, maxSockets = 1 }
  local server = http.createServer(function(_, res) res:finish("hello") end)
  serve(server, function(port)
    local left = n
    local function get()
      http.get({ host = HOST, port = port, agent = agent }, function(res)
        res:resume()
        res:on("end", function()
          left = left - 1
          if left > 0 then return get() end
          agent:destroy()
          server:close(done)
        end)
      end)
    end
    get()
  end)
end)

-- processes -----------------------------------------------------------------------------------------------------------

group = "processes"

work("message of 1,000 objects, and back", 50, function(n, done)
  local child, left = child_process.fork(process.argv[1], { "child" }), n
  child:on("message", function()
    left = left - 1
    if left > 0 then return child:send(many) end
    child:disconnect()
    done()
  end)
  child:send(many)
end)
now("print", 200000, function(n)
  for i = 1, n do print("line", i) end
end)
now("process.hrtime", 300000, function(n) for _ = 1, n do process.hrtime() end end)
now("an environment variable", 100000, function(n) for _ = 1, n do local _ = process.env.PATH end end)

local function measure(each)
  local best = math.huge
  collectgarbage()
  for _ = 1, ROUNDS do
    local started = process.hrtime()
    await(each.f, each.count)
    best = math.min(best, (process.hrtime() - started) / each.count)
  end
  io.stderr:write(each.name, "\t", best, "\n")
end

for _, each in ipairs(works) do
  if not only or each.group == only or each.name:find(only, 1, true) then measure(each) end
end
