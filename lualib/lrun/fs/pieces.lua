--- A file on its way to where it is piped, which never becomes strings: the destination is given pieces of it by descriptor and
--- range (`_writeFile` of sockets and HTTP messages), and the kernel moves the bytes.
---
--- A ReadStream that is asked for data asks here first. A piece is taken as a chunk is: it counts as read when it was handed
--- over, it is no longer than the high-water mark, and the pipe waits for `drain` where the destination says so. What the
--- destination does not take so, or what somebody else wants to see, is read as ever; so are the first bytes, which are all of
--- a small file, and what is no regular file.
---
--- Pieces have a descriptor of their own, which is closed with the last of them: the stream is free to be read, unpiped or
--- destroyed while one is under way.
local files = require("lrun.core.files")
local pipe = require("lrun.stream.pipe")
local timers = require("timers")

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

local function handOver(stream, destination, own, size)
  local offset = stream._position or stream.bytesRead
  local length = math.min(size, files.ahead(own.fd, offset), stream._left or math.huge)
  if length <= 0 then return nil end
  own.users = own.users + 1
  local more = destination:_writeFile(own.fd, offset, length, own.done)
  if more == nil then
    own.users = own.users - 1
    return nil
  end
  stream.bytesRead = stream.bytesRead + length
  stream._position = offset + length
  if stream._left then stream._left = stream._left - length end
  return more, length
end

--- Answers a request for data with pieces of the file for where it is piped. False: it is to be read.
---@param stream ReadStream
---@param size integer bytes that a piece may have
---@return boolean taken
function pieces.send(stream, size)
  local way = pipe.sole(stream)
  local destination = way and way.destination
  if not destination or not destination._writeFile or stream.bytesRead == 0 or not isPlaced(stream) then return false end
  if not stream.readableFlowing then
    stream:_postpone()
    return true
  end
  local own = stream._pieces or open(stream)
  if not own then return false end
  local share = TURN_SHARE
  while share > 0 do
    local more, length = handOver(stream, destination, own, size)
    if more == nil or stream.destroyed then return stream.destroyed end
    if not more then
      stream:_postpone()
      pipe.full(stream, way)
      return true
    end
    share = share - length
  end
  timers.setImmediate(function() if not stream.destroyed then stream:_read(size) end end)
  return true
end

return pieces
