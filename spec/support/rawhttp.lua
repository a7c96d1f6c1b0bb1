--- Raw bytes to a server and what comes back, over luv: no module of the runtime under test but await.
local uv = require("luv")
local await = require("await")

local rawhttp = {}

--- Sends the pieces one after another (each in a write of its own) and collects what comes until the peer closes, or until
--- `untilText` was seen. Returns the bytes and how it ended: "closed", "seen" or "timeout".
---@param port integer
---@param pieces string|string[]
---@param options { untilText: string?, timeout: integer?, half: boolean? }?
---@return string received, string how
function rawhttp.exchange(port, pieces, options)
  options = options or {}
  if type(pieces) == "string" then pieces = { pieces } end
  return await(function(done)
    local client, timer, received = uv.new_tcp(), uv.new_timer(), {}
    local finished = false
    local function finish(how)
      if finished then return end
      finished = true
      timer:close()
      client:close(function() done(table.concat(received), how) end)
    end
    timer:start(options.timeout or 2000, 0, function() finish("timeout") end)
    local function sendFrom(i)
      if finished then return end
      if i > #pieces then
        if options.half then client:shutdown() end
        return
      end
      client:write(pieces[i], function() sendFrom(i + 1) end)
    end
    client:connect("127.0.0.1", port, function(err)
      if err then return finish(err) end
      client:nodelay(true)
      client:read_start(function(readError, data)
        if readError or not data then return finish("closed") end
        received[#received + 1] = data
        if options.untilText and table.concat(received):find(options.untilText, 1, true) then finish("seen") end
      end)
      sendFrom(1)
    end)
  end)
end

--- The statuses of the responses in `text`, in order.
---@param text string
---@return integer[]
function rawhttp.statuses(text)
  local list = {}
  for status in text:gmatch("HTTP/1%.1 (%d%d%d) ") do list[#list + 1] = tonumber(status) end
  return list
end

return rawhttp
