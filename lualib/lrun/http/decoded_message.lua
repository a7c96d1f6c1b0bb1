--- The response to a request with `compress = true`, where its body is coded: what comes goes through a decoder, a piece at
--- a time. When the reader has enough, what is not decoded yet is kept, and the connection waits: a small body that becomes
--- a large one fills nothing.
local coding = require("lrun.zlib.coding")
local coders = require("lrun.http.coders")
local core = require("lrun.core.http")
local message = require("lrun.http.incoming")
local zlib = require("lrun.core.zlib")

local IncomingMessage = message.IncomingMessage
local FULL = zlib.full
local PIECE = 16 * 1024              -- bytes that are decoded at once

local decoded = {}

local DecodedMessage = IncomingMessage:extend("IncomingMessage")
DecodedMessage._coder = false        -- with `_family` and `_coderOptions`, once the first byte has come
DecodedMessage._input = false        -- what is not decoded, from byte `_at` on
DecodedMessage._arrived = false      -- all of it came; then the connection may be another's
DecodedMessage._section = nil

local function release(self)
  if self._coder then self._coder:close() end
end

local function finish(self)
  if self._coder and not self._coder:isWhole() then return self:destroy(coding.cut()) end
  release(self)
  IncomingMessage._complete(self, self._section)
end

-- Decodes until the reader has enough, or all was taken.
local function pump(self)
  while self._input and not self.destroyed and not rawget(self, "_paused") do
    local out, to, state, text = self._coder:step(self._input, self._at, self._family.none, PIECE)
    if not out then return self:destroy(coding.failure(self._coderOptions, to, state, text)) end
    self._at = to
    if state ~= FULL then self._input = false end
    if out ~= "" then IncomingMessage._receive(self, out) end
  end
  if self._arrived and not self._input and not self.destroyed and not rawget(self, "_isComplete") then finish(self) end
end

--- Internal: a piece of the coded body came.
---@param chunk string
function DecodedMessage:_receive(chunk)
  if self.destroyed then return end
  if not self._coder then
    self._coder, self._family, self._coderOptions = coders.decoder(self._codingName, chunk:byte())
  end
  self._input, self._at = self._input and self._input:sub(self._at + 1) .. chunk or chunk, 0
  pump(self)
end

--- Internal: all of it came.
---@param section string? the trailers
function DecodedMessage:_complete(section)
  self._arrived, self._section = true, section
  pump(self)
end

--- Internal: the reader has enough.
function DecodedMessage:_hold()
  self._paused = true
  if not self._arrived then core.pause(self._connection.c) end
end

function DecodedMessage:_read()
  self._consumed = true
  if not rawget(self, "_paused") then return end
  self._paused = nil
  pump(self)
  if not (rawget(self, "_paused") or self._arrived or self.destroyed) then core.resume(self._connection.c) end
end

function DecodedMessage:_destroy(err, callback)
  self._input = false
  release(self)
  IncomingMessage._destroy(self, err, callback)
end

-- They are of the bytes as they came.
local function without(headers)
  headers["content-encoding"], headers["content-length"] = nil, nil
  return headers
end

--- Has the body of a response decoded where it has a coding that we know; a part of one stays as it is. `rawHeaders` keeps what
--- `headers` loses.
---@param response IncomingMessage
function decoded.take(response)
  local name = (response.headers["content-encoding"] or ""):lower()
  if not coders.isThere(name) or response.statusCode == 206 then return end
  response._codingName = name
  response.headersDistinct = without(response.headersDistinct)
  without(response.headers)
  setmetatable(response, DecodedMessage)
end

return decoded
