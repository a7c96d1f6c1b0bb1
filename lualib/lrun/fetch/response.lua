--- What fetch returns. The body is a stream, decoded, and is read once: by `text`, `json`, `bytes`, or by whoever takes `body`.
local await = require("await")
local calls = require("lrun.check.calls")
local errors = require("errors")
local json = require("json")
local stream = require("stream")
local validate = require("lrun.check.validate")

---@class FetchResponse
---@field status integer
---@field ok boolean whether it is 200 to 299
---@field statusText string
---@field headers table<string, string|string[]> lower-case names
---@field rawHeaders string[] names and values in turn, as they came
---@field url string of the last request
---@field redirected boolean
---@field body Readable what was sent, decoded
local Response = { name = "Response" }

Response.ENCODINGS = "gzip, deflate, br"

local DEFAULT_LIMIT = 64 * 1024 * 1024

local DECODERS = {
  gzip = "createGunzip", ["x-gzip"] = "createGunzip", deflate = "createInflate", br = "createBrotliDecompress",
  zstd = "createZstdDecompress",
}

-- The codings of a body, the last one first; nil when one of them is unknown: the bytes are left as they are.
local function codings(headers)
  local list = {}
  for name in (headers["content-encoding"] or ""):lower():gmatch("[^,%s]+") do
    if name ~= "identity" then
      if not DECODERS[name] then return {} end
      table.insert(list, 1, name)
    end
  end
  return list
end

local function hasBody(method, status) return method ~= "HEAD" and status ~= 204 and status ~= 304 and status >= 200 end

-- The message's stream with decoders behind it. What is of the bytes as they came stands in `rawHeaders` alone.
local function decoded(self, message)
  local list = self._job.compress and hasBody(self._job.method, message.statusCode) and codings(message.headers) or {}
  if #list == 0 then return message end
  message.headers["content-encoding"], message.headers["content-length"] = nil, nil
  local zlib = require("zlib")
  local chain = { message }
  for i, name in ipairs(list) do chain[i + 1] = zlib[DECODERS[name]]() end
  local last = chain[#chain]
  chain[#chain + 1] = function() end -- a failure shows at the last one, too
  stream.pipeline(unpack(chain))
  return last
end

--- Internal: made by fetch.
function Response._make(job, message)
  local self = setmetatable({
    status = message.statusCode, ok = message.statusCode >= 200 and message.statusCode < 300, statusText = message.statusMessage or "",
    headers = message.headers, url = job.url.href, redirected = job.redirects > 0, _job = job, _message = message, _taken = false,
  }, Response)
  message:once("close", job.release)
  message:once("end", job.release)
  message:on("error", function() end)    -- who reads the body hears of it
  self._stream = decoded(self, message)
  self._stream:on("error", function() end)
  return self
end

local function bodyOf(self)
  self._taken = true
  return self._stream
end

function Response.__index(self, name)
  if name == "body" then return bodyOf(self) end
  if name == "rawHeaders" then return self._message.rawHeaders end
  return Response[name]
end

local function describe(bytes)
  if bytes % (1024 * 1024) == 0 and bytes > 0 then return ("%d MiB"):format(bytes / (1024 * 1024)) end
  return ("%d bytes"):format(bytes)
end

local function tooLarge(limit)
  return errors.coded("ERR_BODY_TOO_LARGE", ("the body is larger than the limit of %s"):format(describe(limit)))
end

local function collect(self, limit, callback)
  local body, parts, size, done = self._stream, {}, 0, false
  local function finish(err)
    if done then return end
    done = true
    if err ~= nil then
      body:destroy()
      self._job.message:destroy()
      return callback(self._job.failure or err)
    end
    callback(nil, table.concat(parts))
  end
  if self._job.failure then return finish(self._job.failure) end
  local length = tonumber(self.headers["content-length"])
  if length and body == self._job.message and hasBody(self._job.method, self.status) and length > limit then return finish(tooLarge(limit)) end
  body:on("data", function(chunk)
    size = size + #chunk
    if size > limit then return finish(tooLarge(limit)) end
    parts[#parts + 1] = chunk
  end)
  body:on("end", function() finish() end)
  body:on("error", finish)
  body:on("close", function() finish(errors.coded("ECONNRESET", "the connection ended before the body did")) end)
end

local function read(self, limit)
  if limit ~= nil then validate.number(limit, "limit", 0) end
  if self._taken then return nil, errors.coded("ERR_BODY_USED", "the body was read already, or `body` was taken") end
  self._taken = true
  local err, text = await(collect, self, limit or DEFAULT_LIMIT)
  if err ~= nil then return nil, err end
  return text
end

--- The whole body. Inside a coroutine.
---@param limit integer? bytes, 64 MiB: a larger one is an error that names the limit
---@return string? text
---@return Error? err
function Response:text(limit) return read(self, limit) end

--- The same.
---@param limit integer?
---@return string? bytes
---@return Error? err
function Response:bytes(limit) return read(self, limit) end

--- The value that the body is as JSON. Inside a coroutine.
---@param limit integer?
---@return any value
---@return Error? err `ERR_INVALID_JSON` when it is none
function Response:json(limit)
  local text, err = read(self, limit)
  if not text then return nil, err end
  local ok, value = pcall(json.decode, text)
  if not ok then return nil, value end
  return value
end

calls.methods(Response, "response")

return Response
