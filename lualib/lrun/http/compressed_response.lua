--- Responses of a server with `compress = true`: what the program writes goes through a coder on its way to C where the policy
--- (lrun.http.compression) says so. They are of a class of their own; other servers pay nothing.
---
--- A body that is given to `finish` whole is coded at once, and its length is known. Another is coded piece by piece, and
--- flushed after each, so that the client can read what was written. Large ones take several turns (lrun.http.slices).
local coders = require("lrun.http.coders")
local coding = require("lrun.zlib.coding")
local compression = require("lrun.http.compression")
local core = require("lrun.core.http")
local outgoing = require("lrun.http.outgoing")
local slices = require("lrun.http.slices")

local compressed = {}

-- `left`: what a Content-Length of the program's still allows.
local function openCoder(name, left)
  local coder, family, options = coders.encoder(name)
  return { coder = coder, family = family, options = options, left = left or false }
end

local function code(self, chunk, flush)
  local out, whole, number, message = self.coder:all(chunk, flush, self.options.maxOutputLength)
  if not out then error(coding.failure(self.options, whole, number, message), 0) end
  return out
end

-- What is left of a piece: more than Content-Length says is not sent.
local function within(self, chunk)
  if not self.left then return chunk end
  if #chunk > self.left then chunk = chunk:sub(1, self.left) end
  self.left = self.left - #chunk
  return chunk
end

local function headerOf(res)
  return function(name)
    local value = res:getHeader(name)
    if type(value) == "table" then value = table.concat(value, ", ") end
    return value ~= nil and tostring(value) or nil
  end
end

-- The coding of a response, and its length as the program says it; nil when its body stays as it is. Says that it may vary.
local function choose(res, status, length)
  local get = headerOf(res)
  if not compression.isOpen(status, get) then return nil end
  local said = tonumber(get("content-length"))
  length = said or length
  local req = res.req
  if length and length < compression.THRESHOLD and req.method ~= "HEAD" then return nil end
  outgoing.replaceHeader(res, "Vary", compression.mergeVary(get("vary")))
  if length and length < compression.THRESHOLD then return nil end
  return compression.choose(req.headers["accept-encoding"], coders.isThere), said
end

-- The head says that the body is coded.
local function announce(res, name)
  local etag = headerOf(res)("etag")
  outgoing.replaceHeader(res, "Content-Encoding", name)
  outgoing.replaceHeader(res, "Content-Length", nil)
  outgoing.replaceHeader(res, "Accept-Ranges", nil)        -- they would be of other bytes
  if etag then outgoing.replaceHeader(res, "ETag", compression.weaken(etag)) end
end

local function release(res)
  local self = res._coding
  if self then
    res._coding = false
    self.coder:close()
  end
end

-- The coding has its end; false for a body shorter than promised, which has no good one.
local function conclude(res)
  local left = res._coding.left
  release(res)
  return not (left and left > 0)
end

-- Has a piece coded over several turns.
local function slice(res, opened, chunk, flush, last)
  slices.add(res, {
    code = function(part, number) return code(opened, part, number) end, none = opened.family.none,
    ended = function() return conclude(res) end,
  }, chunk, flush, last)
end

local function isLarge(res, chunk) return #chunk > slices.LARGE or slices.wait(res) end

--- A class of responses that are compressed.
---@param base table ServerResponse, or a class of the program's that extends it
---@return table class
function compressed.class(base)
  local class = base:extend(base.name)
  class._special = true
  class._coding = false

  --- Internal: the head is about to be sent, the body comes in pieces: whether they are to be coded.
  ---@param status integer
  ---@return boolean
  function class:_startsCoding(status)
    local name, said = choose(self, status, nil)
    if not name then return false end
    if self.req.method == "HEAD" then
      announce(self, name)
      return false
    end
    local opened = openCoder(name, said)
    announce(self, name)
    self._coding = opened
    self:once("close", function() release(self) end)       -- whatever becomes of it
    return true
  end

  --- Internal: writes a piece.
  ---@param chunk string
  ---@param callback function?
  ---@return boolean
  function class:_writeCoded(chunk, callback)
    local opened = self._coding
    chunk = within(opened, chunk)
    if isLarge(self, chunk) then
      slice(self, opened, chunk, opened.family.sync, false)
      return outgoing.written(self, false, callback)
    end
    local out = chunk == "" and "" or code(opened, chunk, opened.family.sync)
    return outgoing.written(self, core.write(self._connection.c, self._id, out), callback)
  end

  --- Internal: the last piece, and whether it is sent over several turns. A body shorter than promised has no good end: the
  --- connection ends.
  ---@param chunk string?
  ---@return string? chunk
  ---@return boolean? later
  function class:_codeLast(chunk)
    local opened = self._coding
    chunk = within(opened, chunk or "")
    if isLarge(self, chunk) then
      slice(self, opened, chunk, opened.family.finish, true)
      return nil, true
    end
    local out = code(opened, chunk, opened.family.finish)
    if conclude(self) then return out end
    self:destroy()
    return nil
  end

  --- Internal: whether a body that is sent whole is coded over several turns.
  ---@param chunk string?
  ---@param status integer
  ---@return boolean
  function class:_isSliced(chunk, status)
    if not chunk or #chunk <= slices.LARGE or self.req.method == "HEAD" then return false end
    local name, said = choose(self, status, #chunk)
    return name ~= nil and not (said and said > #chunk)
  end

  --- Internal: a body that is sent whole. One that becomes no shorter, or is not all that was promised, stays as it is.
  ---@param chunk string?
  ---@param status integer
  ---@return string?
  function class:_codeWhole(chunk, status)
    local isHead = self.req.method == "HEAD"
    local length = chunk and #chunk or 0
    if isHead and length == 0 then length = nil end
    local name, said = choose(self, status, length)
    if not name or isHead and not (said or length) then return chunk end
    if isHead then
      announce(self, name)
      return nil
    end
    if said and said > length then return chunk end
    local opened = openCoder(name)
    local out = code(opened, said and chunk:sub(1, said) or chunk, opened.family.finish)
    opened.coder:close()
    if #out >= #chunk then return chunk end
    announce(self, name)
    return out
  end

  return class
end

return compressed
