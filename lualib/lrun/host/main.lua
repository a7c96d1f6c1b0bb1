--- The coroutine of the main script: kept until it has come to its end, so that an end of the process before that is seen.
local main = {}

local UNSETTLED = 13                -- Node's exit code for it

local co

--- The coroutine that runs now is the main script's.
function main.began() co = coroutine.running() end

--- The main script has come to its end.
function main.ended() co = nil end

--- The process ends because nothing keeps its loop alive. Where the main script still waits, says so.
---@return integer? code
function main.unsettled()
  if not co or coroutine.status(co) ~= "suspended" then return nil end
  local traceback = require("lrun.host.traceback")
  local place = traceback.place(traceback.frames(co))
  io.stderr:write(place and ("%s:%d: "):format(place.path, place.line) or "lrun: ",
    "the script waits here, and nothing is left that could wake it: the callback of this await was never called\n")
  return UNSETTLED
end

return main
