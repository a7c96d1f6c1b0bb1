--- Large pieces of bodies on their way through a coder: a slice a turn of the loop, so that others have theirs meanwhile.
---
--- A response whose pieces wait has a queue. What it was finished with is not lost: the rest is coded at once when its connection is
--- closed from this side (`connection.unfinished`), and before the process ends, blocks or starts another (the hook `flush`).
local core = require("lrun.core.http")
local outgoing = require("lrun.http.outgoing")
local timers = require("timers")
local vm = require("lrun.core.vm")

local slices = {}

--- Bytes from which on a piece is coded in slices.
slices.LARGE = 256 * 1024

local SLICE = 64 * 1024

---@class SlicedPiece
---@field chunk string
---@field at integer bytes of it that were coded
---@field flush integer what the coder does at its end
---@field last boolean the body ends with it

---@class SliceQueue
---@field code fun(chunk: string, flush: integer): string
---@field none integer the coder's number for no flush
---@field ended fun(): boolean the last piece was coded; false when the response must not have a good end
---@field first integer
---@field finished boolean its last piece is here
---@field more boolean? what C said to the last write
---@field [integer] SlicedPiece

local queues = {}                  -- response → SliceQueue: those that have something to do

local function forget(res)
  queues[res] = nil
  local connection = res:_getConnection()
  local waiting = connection.unfinished
  if waiting then
    waiting[res] = nil
    if next(waiting) == nil then connection.unfinished = false end
  end
end

-- Codes one slice; false when there is no other.
local function step(res, queue)
  local piece, connection = queue[queue.first], res:_getConnection()
  if not piece or connection.closed then return false end
  local from = piece.at
  piece.at = math.min(from + SLICE, #piece.chunk)
  local isWhole = piece.at == #piece.chunk
  local out = queue.code(piece.chunk:sub(from + 1, piece.at), isWhole and piece.flush or queue.none)
  if isWhole and piece.last then
    forget(res)                    -- to destroy it closes the connection, which asks for what is left
    if queue.ended() then core.finish(connection.c, res._id, out, res._trailerLines or nil) else res:destroy() end
    return false
  end
  if out ~= "" then queue.more = core.write(connection.c, res._id, out) end
  if isWhole then
    queue[queue.first] = nil
    queue.first = queue.first + 1
  end
  return queue[queue.first] ~= nil
end

-- The queue is done. A response that goes on hears `drain`, from C where that has bytes to wait for.
local function rest(res, queue)
  forget(res)
  if not queue.finished and queue.more == true and not res.destroyed then outgoing.drained(res) end
end

local function run(res, queue, all)
  local ok, err = pcall(function()
    repeat
      if not step(res, queue) then return rest(res, queue) end
    until not all
  end)
  if not ok then
    forget(res)
    res:destroy(err)
  end
end

local function turn(res)
  local queue = queues[res]
  if not queue then return end
  run(res, queue, false)
  if queues[res] then timers.setImmediate(turn, res) end
end

-- The rest of all of them, now.
local function flush()
  local list = {}
  for res in pairs(queues) do list[#list + 1] = res end
  for _, res in ipairs(list) do
    if queues[res] then run(res, queues[res], true) end
  end
end

--- The rest of the responses of a connection that were finished, now: it is about to end.
---@param connection HttpConnection
function slices.complete(connection)
  local waiting = connection.unfinished
  connection.unfinished = false
  for res in pairs(waiting or {}) do
    if queues[res] then run(res, queues[res], true) end
  end
end

--- The same for all connections of a group.
---@param group ConnectionGroup
function slices.completeAll(group)
  local list = {}
  for res in pairs(queues) do
    local connection = res:_getConnection()
    if connection.owner.group == group then list[#list + 1] = connection end
  end
  for _, connection in ipairs(list) do slices.complete(connection) end
end

--- Whether pieces of a response wait, so that later ones must, too.
---@param res ServerResponse
---@return boolean
function slices.wait(res) return queues[res] ~= nil end

--- Takes a piece. A coder is told by the first one.
---@param res ServerResponse
---@param coder { code: fun(chunk: string, flush: integer): string, none: integer, ended: fun(): boolean }
---@param chunk string
---@param flushing integer what the coder does behind it
---@param last boolean
function slices.add(res, coder, chunk, flushing, last)
  local queue = queues[res]
  if not queue then
    vm.hook("flush", flush)
    queue = { code = coder.code, none = coder.none, ended = coder.ended, first = 1, finished = false }
    queues[res] = queue
    timers.setImmediate(turn, res)
  end
  local place = queue.first
  while queue[place] do place = place + 1 end
  queue[place] = { chunk = chunk, at = 0, flush = flushing, last = last }
  if not last then return end
  queue.finished = true
  local connection = res:_getConnection()
  connection.unfinished = connection.unfinished or {}
  connection.unfinished[res] = true
end

return slices
