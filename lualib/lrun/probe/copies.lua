--- What the process prints, for those who are attached: sent at once, so that what stands before a loop is seen; what comes too
--- fast for that is gathered for a moment. Who does not read loses some, and is told how many pieces.
local uv = require("luv")
local probe = require("lrun.core.probe")

local copies = {}

local PIECE = 16 * 1024             -- bytes that are gathered
local MOMENT = 50                   -- ms for which they are
local AT_ONCE = 20                  -- pieces in a moment

local clients = {}
local pending, size = {}, 0
local moment, sent = 0, 0           -- when it began, and the pieces since

local function flush()
  if size == 0 then return end
  local text = require("lrun.manager.wire").pack(table.concat(pending))
  pending, size, sent = {}, 0, sent + 1
  for _, send in pairs(clients) do send{ output = text } end
end

local function add(text)
  if size == 0 then require("process").nextTick(flush) end
  pending[#pending + 1], size = text, size + #text
  local now = uv.hrtime()
  if now - moment > MOMENT * 1e6 then moment, sent = now, 0 end
  if sent < AT_ONCE or size >= PIECE then flush() end
end

local function onOutput(text) pcall(add, text) end

--- From now on a client gets it, as events { output }.
---@param client table
---@param send fun(event: table)
function copies.add(client, send)
  if clients[client] then return end
  if next(clients) == nil then probe.tee(onOutput) end
  clients[client] = send
  table.insert(client.atEnd, function()
    clients[client] = nil
    if next(clients) == nil then probe.tee(nil) end
  end)
end

copies.flush = flush

return copies
