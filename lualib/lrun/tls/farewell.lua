--- The end of a connection that never became secure: what we said last (an alert, a line of HTTP) must reach the peer, so
--- our side is shut, what still comes is thrown away, and the rest is closed when the peer has ended, or after a while.
local uv = require("luv")

local farewell = {}

local LIMIT = 2000                  -- ms for which we wait for the peer's end

--- Calls `done` once, when the connection may be closed.
---@param handle userdata
---@param done fun()
function farewell.say(handle, done)
  local timer = uv.new_timer()
  local function finish()
    if not timer then return end
    uv.close(timer)
    timer = nil
    done()
  end
  uv.timer_start(timer, LIMIT, 0, finish)
  if handle:is_closing() or not handle:read_start(function(_, chunk) if not chunk then finish() end end) or not handle:linger() then
    finish()
  end
  return finish
end

return farewell
