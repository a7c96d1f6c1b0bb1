--- `socket:messages()`: a socket's messages for a loop in a coroutine. While the loop's body works the socket is held: C
--- keeps what has come, and reads no more. A held socket has one message here at most, those that come behind `close` aside.
local await = require("await")
local core = require("lrun.core.websocket")
local errors = require("errors")

---@class MessageReader
---@field c userdata
---@field held boolean C delivers nothing
---@field waiting function|false the loop's, which waits
---@field ended boolean
---@field letGo boolean the socket closes: it is not held any more, so that the peer's answer is heard
local Reader = {}
Reader.__index = Reader

local UNREAD_LIMIT = 1024 * 1024     -- bytes behind our close frame that are kept for a loop; what is past them is dropped

---@param c userdata
---@return MessageReader
function Reader.new(c)
  return setmetatable({ c = c, held = false, waiting = false, ended = false, letGo = false, first = 1, last = 0, size = 0 }, Reader)
end

local function hold(self)
  if self.held or self.letGo then return end
  self.held = true
  core.pause(self.c)
end

local function release(self)
  if not self.held then return end
  self.held = false
  if not self.paused then core.resume(self.c) end
end

--- A message has come.
---@param data string
---@param isBinary boolean
function Reader:take(data, isBinary)
  local waiting = self.waiting
  if not waiting and self.letGo and self.size + #data > UNREAD_LIMIT then return end
  hold(self)
  if waiting then
    self.waiting = false
    return waiting(data, isBinary)
  end
  self[self.last + 1], self[self.last + 2] = data, isBinary
  self.last, self.size = self.last + 2, self.size + #data
end

local function pop(self)
  local first = self.first
  local data, isBinary = self[first], self[first + 1]
  self[first], self[first + 1] = nil, nil
  self.first, self.size = first + 2, self.size - #data
  if self.first > self.last then self.first, self.last = 1, 0 end
  return data, isBinary
end

--- The next message; nil at the end.
---@return string? data
---@return boolean? isBinary
function Reader:next()
  if self.waiting then
    error(errors.coded("ERR_INVALID_STATE", "messages() is being read by another loop already"), 0)
  end
  if self.last == 0 then release(self) end
  if self.last > 0 then return pop(self) end
  if self.ended then return nil end
  return await(function(callback) self.waiting = callback end)
end

--- The program pauses the socket, or goes on.
function Reader:pause() self.paused = true end

--- The counterpart; false says that the loop holds the socket still.
---@return boolean
function Reader:resume()
  self.paused = false
  return not self.held
end

--- We close: whatever the loop does, the peer's answer is to be heard.
function Reader:close()
  self.letGo = true
  release(self)
end

--- Nothing more comes.
function Reader:finish()
  self.ended = true
  local waiting = self.waiting
  self.waiting = false
  if waiting then waiting(nil) end
end

return Reader
