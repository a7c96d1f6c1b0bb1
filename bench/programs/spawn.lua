-- spawn.lua WHAT COUNT: starts processes one after another; the twin of spawn.js. Prints processes a second, or
-- milliseconds a process for `fork`.
local child_process = require("child_process")

local what, count = process.argv[2], tonumber(process.argv[3])
local started = process.hrtime()

local function report()
  local seconds = (process.hrtime() - started) / 1e9
  print(what == "fork" and seconds * 1e3 / count or count / seconds)
end

local function series(start)
  local left = count
  local function nextOne()
    if left == 0 then return report() end
    left = left - 1
    start():on("exit", nextOne)
  end
  nextOne()
end

if what == "spawn" then
  series(function() return child_process.spawn("/bin/true") end)
elseif what == "fork" then
  local script = process.argv[1]:gsub("spawn%.lua$", "empty.lua")
  series(function() return child_process.fork(script) end)
else
  for _ = 1, count do child_process.execFileSync("/bin/echo", { "hello" }) end
  report()
end
