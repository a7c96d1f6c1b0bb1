--- A file on its way to where it is piped, which never becomes strings: the destination is given pieces of it by descriptor and
--- range (`_writeFile` of sockets and HTTP messages), and the kernel moves the bytes.
---
--- A ReadStream that is asked for data asks here first. What the kernel takes at once goes in one step, as far as the file's
--- share of the turn; of what waits then there is one piece, no longer than the high-water mark, and the pipe waits for `drain`
--- where the destination says so. It counts as read when it was handed over. What the destination does not take so, or what
--- somebody else wants to see, is read as ever; so are a file of one piece, and what is no regular file.
---
--- What waits has a descriptor of its own, which is closed with the last of it: the stream is free to be read, unpiped or
--- destroyed meanwhile.
local files = require("lrun.core.files")
local pipe = require("lrun.stream.pipe")
local turns = require("lrun.fs.turns")

local pieces = {}

local TURN_SHARE = 1024 * 1024      -- bytes that one file hands over before others get their turn

local function drop(own)
  if own.users == 0 and own.over and own.fd then
    files.release(own.fd)
    own.fd = nil
  end
end

-- The descriptor of a stream's pieces, and what each calls when it is sent or given up.
local function open(stream)
  local fd = files.hold(stream.fd)
  if not fd then return nil end
  local own = { fd = fd, users = 0, over = false }
  function own.done()
    own.users = own.users - 1
    drop(own)
  end
  stream._pieces = own
  return own
end

--- The stream reads no more.
---@param stream ReadStream
function pieces.close(stream)
  local own = stream._pieces
  if not own then return end
  own.over = true
  drop(own)
end

-- Whether reading it by position is the same as reading on.
local function isPlaced(stream) return stream._position ~= nil or stream.path ~= nil and not stream._lent end

-- How much there is to be sent, no more than `most`; nil where the file does not say.
local function lengthOf(stream, fd, most)
  local there = files.ahead(fd, stream._position or stream.bytesRead)
  return there and math.min(there, stream._left or math.huge, most)
end

local function handOver(stream, destination, own, length, size)
  local offset = stream._position or stream.bytesRead
  own.users = own.users + 1
  local more, taken, waits = destination:_writeFile(own.fd, offset, length, own.done, size)
  if not waits then own.users = own.users - 1 end
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
local function run(stream, way, own, size)
  local share = math.max(TURN_SHARE, size)
  while share > 0 do
    local length = lengthOf(stream, own.fd, share)
    if not length then return false end
    if length == 0 then
      stream:push(nil)
      return true
    end
    local more, taken = handOver(stream, way.destination, own, length, size)
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
  local own = stream._pieces
  if own then return run(stream, way, own, size) end
  local first = stream.bytesRead == 0
  if first and (lengthOf(stream, stream.fd, math.huge) or 0) <= size then return false end
  own = open(stream)
  if not own then return false end
  if not first then return run(stream, way, own, size) end
  turns.push(readOn, stream, size)              -- the first bytes never come before `open` is told
  return true
end

return pieces
