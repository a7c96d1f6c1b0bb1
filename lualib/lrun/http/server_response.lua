--- The response to a request, on its way through C (runtime/http/exchange.c keeps responses in order).
local ffi = require("ffi")
local calls = require("lrun.check.calls")
local core = require("lrun.core.http")
local errors = require("errors")
local process = require("process")
local message = require("lrun.http.incoming")
local outgoing = require("lrun.http.outgoing")
local sockets = require("lrun.http.socket")

local band = require("bit").band
local nextTick = process.nextTick
local flags = message.flags
local OutgoingMessage = outgoing.OutgoingMessage

---@class ServerResponse: OutgoingMessage
---@field statusCode integer
---@field statusMessage string?
---@field req IncomingMessage
---@field socket Socket
local ServerResponse = OutgoingMessage:extend("ServerResponse")
ServerResponse.statusCode = 200

-- runtime/http/module.c: compiled code calls it without leaving its trace.
local respondPlain = ffi.cast("int (*)(void *, uint32_t, const char *, size_t)", core.respondPlain)

local FRESH, HEAD, BEGUN, ENDED, FINISHED = 0, 1, 2, 3, 4 -- outgoing.states
local NO_DATE = outgoing.headFlags.noDate
local BODY = flags.body

local function headFlags(self)
  local bits = self._headFlags
  return self.sendDate and bits or bits + NO_DATE
end

local function emitFinished(self)
  self._state = FINISHED
  self:emit("finish")
end

local function emitClosed(self)
  if self.closed then return end
  self.closed = true
  self:emit("close")
end

-- The response is complete, or its connection is gone.
local function settle(self)
  local connection = self._connection
  if connection.response == self then
    connection.response = false
  elseif connection.later then
    connection.later[self._id] = nil
  end
end

-- The last bytes were given to the system.
local function sent(self)
  outgoing.callBack(self)
  if rawget(self, "_listeners") then
    nextTick(emitFinished, self)
    nextTick(emitClosed, self)
  else
    self._state = FINISHED
  end
end

local function closeRequest(req)
  if req._closeEmitted then return end
  req._closeEmitted, req.closed = true, true
  req:emit("close")
end

-- Every request comes through here. No closure is made of its variables: the compiler would leave the function alone.
local function ended(self, callback)
  self._state = ENDED
  settle(self)
  local req = self.req
  if band(req._flags, BODY) ~= 0 and not req.complete and not rawget(req, "_rs") then
    core.dump(self._connection.c, self._id)
  end
  if callback then self:once("finish", callback) end
  if rawget(self, "_listeners") or rawget(self, "_waiting") then
    local connection = self._connection
    if core.sent(connection.c) >= self._id then
      sent(self)
    else
      local unsent = connection.unsent or {}
      unsent[#unsent + 1] = self
      connection.unsent = unsent
      core.tell(connection.c)
    end
  end
  if rawget(req, "_listeners") and not req._closeEmitted then nextTick(closeRequest, req) end
end

-- The status as an integer: Node takes what converts to one, such as a string from somewhere else, and cuts fractions.
local function checkStatus(status)
  local number = tonumber(status)
  if not number or not (number >= 100 and number < 1000) then
    error(errors.coded("ERR_HTTP_INVALID_STATUS_CODE", "Invalid status code: " .. tostring(status)), 0)
  end
  return math.floor(number)
end

local function checkStatusMessage(text)
  if text ~= nil and (type(text) ~= "string" or not core.isText(text)) then
    error(errors.coded("ERR_INVALID_CHAR", "Invalid character in statusMessage"), 0)
  end
end

--- Sets status and headers; they go out with the first piece of the body.
---@param status integer
---@param text string? status message
---@param headers table<string, string|number|string[]>|table? a table, names and values in turn, or `{ name, value }` pairs
---@return self
function ServerResponse:writeHead(status, text, headers)
  if type(self) ~= "table" then calls.needsColon("res", "writeHead") end
  if self._state >= HEAD then
    error(errors.coded("ERR_HTTP_HEADERS_SENT", "Cannot write headers after they are sent to the client"), 0)
  end
  if status ~= 200 then status = checkStatus(status) end
  if type(text) == "table" then text, headers = nil, text end
  if text ~= nil then checkStatusMessage(text) self.statusMessage = text end
  if headers ~= nil then self:_take(headers) end
  self.statusCode = status
  self._state = HEAD
  return self
end

local function sendHead(self, flush)
  local status = checkStatus(self.statusCode)
  checkStatusMessage(self.statusMessage)
  self._state = BEGUN
  core.head(self._connection.c, self._id, status, self.statusMessage, self._fields, headFlags(self), flush)
end

--- Sends the head now.
function ServerResponse:flushHeaders()
  if self._state < BEGUN then sendHead(self, true) end
end

--- Writes a piece of the body; false says: wait for `drain`.
---@param chunk string
---@param encoding string|function? accepted; may be left out
---@param callback fun(err: any?)? called when more may be written, as at the `drain` after a false
---@return boolean
function ServerResponse:write(chunk, encoding, callback)
  if type(self) ~= "table" then calls.needsColon("res", "write") end
  if type(encoding) == "function" then callback = encoding end
  outgoing.checkChunk(chunk)
  if self._state >= ENDED or self.destroyed then return outgoing.writeAfterEnd(self, callback) end
  if self._state < BEGUN then sendHead(self, false) end
  if chunk == "" then
    if callback then nextTick(callback) end
    return true
  end
  return outgoing.written(self, core.write(self._connection.c, self._id, chunk), callback)
end

--- Ends the response, after a last piece of its body.
---@param chunk string|function?
---@param encoding string|function? accepted; may be left out
---@param callback function? called when all was given to the system
---@return self
function ServerResponse:finish(chunk, encoding, callback)
  if type(self) ~= "table" then calls.needsColon("res", "finish") end
  if type(chunk) == "function" then chunk, callback = nil, chunk end
  if type(encoding) == "function" then callback = encoding end
  if chunk ~= nil then outgoing.checkChunk(chunk) end
  local state = self._state
  if state >= ENDED or self.destroyed then
    outgoing.finishAgain(self, chunk, callback)
    return self
  end
  if state == BEGUN then
    core.finish(self._connection.c, self._id, chunk, self._trailerLines)
  elseif self._trailerLines then
    sendHead(self, false)
    core.finish(self._connection.c, self._id, chunk, self._trailerLines)
  else
    local c, id, status, text, fields, bits = self._connection.c, self._id, self.statusCode, self.statusMessage, self._fields,
      headFlags(self)
    if status ~= 200 then status = checkStatus(status) end
    if text then checkStatusMessage(text) end
    local isPlain = status == 200 and bits == 0 and chunk and not text and not fields
    if not (isPlain and respondPlain(c, id, chunk, #chunk) == 1) then
      core.respond(c, id, status, text, fields, chunk, bits)
    end
  end
  ended(self, callback)
  return self
end

--- Gives the response up and closes the connection.
---@param err any?
---@return self
function ServerResponse:destroy(err)
  if self.destroyed then return self end
  self.destroyed = true
  settle(self)
  core.close(self._connection.c)
  if err ~= nil then nextTick(function() self:emit("error", err) end) end
  nextTick(emitClosed, self)
  return self
end

local function interim(self, text)
  if self._state == FRESH then core.raw(self._connection.c, self._id, text) end
end

--- Tells a client that waits before it sends its body to go on.
function ServerResponse:writeContinue() interim(self, "HTTP/1.1 100 Continue\r\n\r\n") end

--- Tells the client that the answer takes time.
function ServerResponse:writeProcessing() interim(self, "HTTP/1.1 102 Processing\r\n\r\n") end

--- Sends headers ahead of the response, mostly `link`.
---@param hints table<string, string|string[]>
---@param callback function?
function ServerResponse:writeEarlyHints(hints, callback)
  if type(hints) ~= "table" then error(errors.argType("hints", "table", hints), 0) end
  local lines = { "HTTP/1.1 103 Early Hints\r\n" }
  outgoing.forEach(hints, function(name, value)
    outgoing.lowerName(name)
    value = outgoing.checkValue(name, value)
    if type(value) == "table" then value = table.concat(value, ", ") end
    lines[#lines + 1] = name .. ": " .. value .. "\r\n"
  end)
  if #lines > 1 then interim(self, table.concat(lines) .. "\r\n") end
  if callback then nextTick(callback) end
end

--- Output is written at once; several writes in one turn of the loop are one write already.
---@return self
function ServerResponse:cork() return self end

--- The same.
---@return self
function ServerResponse:uncork() return self end

--- Calls the listener after `ms` without traffic on the connection.
---@param ms integer
---@param listener function?
---@return self
function ServerResponse:setTimeout(ms, listener)
  if listener then self:on("timeout", listener) end
  message.setTimeout(self._connection, ms)
  return self
end

calls.methods(ServerResponse, "res", { writeHead = true, write = true, finish = true })
outgoing.define(ServerResponse, {
  socket = function(self) return sockets.of(self._connection) end,
  connection = function(self) return sockets.of(self._connection) end,
})

return { ServerResponse = ServerResponse, settle = settle, emitClosed = emitClosed, sent = sent }
