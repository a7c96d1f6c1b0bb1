--- A file on its way to where it is piped, which never becomes strings: the destination is given pieces of it by descriptor and
--- range (`_writeFile` of sockets and HTTP messages), and the kernel moves the bytes.
---
--- A ReadStream that is asked for data asks here first. What the kernel takes at once goes in one step, as far as the file's
--- share of the turn; of what waits then there is one piece, no longer than the high-water mark, and the pipe waits for `drain`
--- where the destination says so. It counts as read when it was handed over. What the destination does not take so, or what
--- somebody else wants to see, is read as ever; so are a file of one piece, and what is no regular file.
---
--- What waits has a descriptor of its own: the stream is free to be read, unpiped or destroyed meanwhile.
local files = require("lrun.core.files")
local pipe = require("lrun.stream.pipe")
local turns = require("lrun.fs.turns")

local pieces = {}

local TURN_SHARE = 1024 * 1024      -- bytes that one file hands over before others get their turn

-- Whether reading it by position is the same as reading on.
local function isPlaced(stream) return stream._position ~= nil or stream.path ~= nil and not stream._lent end

-- How much there is to be sent, no more than `most`; nil where the file does not say.
local function lengthOf(stream, most)
  local there = files.ahead(stream.fd, stream._position or stream.bytesRead)
  return there and math.min(there, stream._left or math.huge, most)
end

local function handOver(stream, destination, length, size)
  local offset = stream._position or stream.bytesRead
  local more, taken = destination:_writeFile(stream.fd, offset, length, size)
  if more == nil then return nil, 0 end
  stream.bytesRead = stream.bytesRead + taken
  stream._position = offset + taken
  if stream._left then stream._left = stream._left - taken end
  return more, taken
end

local function readOn(stream, size)
  if not stream.destroyed then stream:_read(size) end
end

-- What one turn may hand over, or less, until the destination is full.
local function run(stream, way, size)
  local share = math.max(TURN_SHARE, size)
  while share > 0 do
    local length = lengthOf(stream, share)
    if not length then return false end
    if length == 0 then
      stream:push(nil)
      return true
    end
    local more, taken = handOver(stream, way.destination, length, size)
    if more == nil or stream.destroyed then return stream.destroyed end
    if not more then
      stream:_postpone()
      pipe.full(stream, way)
      return true
    end
    share = share - taken
  end
  turns.push(readOn, stream, size)
  return true
end

--- Answers a request for data with pieces of the file for where it is piped. False: it is to be read.
---@param stream ReadStream
---@param size integer bytes that a piece may have
---@return boolean taken
function pieces.send(stream, size)
  local way = size > 0 and pipe.sole(stream)
  if not way or not way.destination._writeFile or not isPlaced(stream) then return false end
  if not stream.readableFlowing then
    stream:_postpone()
    return true
  end
  if stream.bytesRead == 0 and not stream._sends then
    if (lengthOf(stream, math.huge) or 0) <= size then return false end
    stream._sends = true
    turns.push(readOn, stream, size)            -- the first bytes never come before `open` is told
    return true
  end
  return run(stream, way, size)
end

return pieces
