-- spawn.lua WHAT COUNT [MEBIBYTES]: starts processes one after another, and holds so much memory meanwhile; the twin of
-- spawn.js. Prints processes a second (`spawn`: from the median of their times), or milliseconds a process for `fork`.
local child_process = require("child_process")
local ffi = require("ffi")

ffi.cdef("void *malloc(size_t size);")

local what, count, size = process.argv[2], tonumber(process.argv[3]), tonumber(process.argv[4] or 0) * 1024 * 1024
if size > 0 then ffi.fill(ffi.C.malloc(size), size, 1) end

local started = process.hrtime()

local function report()
  local seconds = (process.hrtime() - started) / 1e9
  print(what == "fork" and seconds * 1e3 / count or count / seconds)
end

local function series(start, done)
  local left = count
  local function nextOne()
    if left == 0 then return done() end
    left = left - 1
    start():on("exit", nextOne)
  end
  nextOne()
end

if what == "spawn" then
  local times, last = {}, nil
  series(function()
    local now = process.hrtime()
    if last then times[#times + 1] = now - last end
    last = now
    return child_process.spawn("/bin/true")
  end, function()
    table.sort(times)
    print(1e9 / times[math.ceil(#times / 2)])
  end)
elseif what == "fork" then
  local script = process.argv[1]:gsub("spawn%.lua$", "empty.lua")
  series(function() return child_process.fork(script) end, report)
else
  for _ = 1, count do child_process.execFileSync("/bin/echo", { "hello" }) end
  report()
end
