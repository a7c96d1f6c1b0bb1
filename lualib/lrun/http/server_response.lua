--- The response to a request, on its way through C (runtime/http/exchange.c keeps responses in order).
local ffi = require("ffi")
local calls = require("lrun.check.calls")
local core = require("lrun.core.http")
local errors = require("errors")
local validate = require("lrun.check.validate")
local process = require("process")
local Connection = require("lrun.http.connection")
local isOpen = require("lrun.http.incoming").isOpen
local destroy = require("lrun.stream.destroy")
local outgoing = require("lrun.http.outgoing")

local band, bor = require("bit").band, require("bit").bor
local nextTick = process.nextTick
local OutgoingMessage = outgoing.OutgoingMessage

---@class ServerResponse: OutgoingMessage
---@field statusCode integer
---@field statusMessage string?
---@field req IncomingMessage
---@field socket Socket? nil once the socket was given away
---@field connection Socket? the same
local ServerResponse = OutgoingMessage:extend("ServerResponse")
ServerResponse.statusCode = 200
ServerResponse._fields = false
ServerResponse._trailerLines = false
ServerResponse._timeLimit = false    -- ms, for when its turn comes

-- runtime/http/messages.c: compiled code calls it without leaving its trace.
local respondPlain = ffi.cast("int (*)(void *, uint32_t, const char *, size_t)", core.respondPlain)
-- runtime/http/files.c: the same.
local fileTry = ffi.cast("int (*)(void *, uint32_t, void *, const char *, size_t, const char *, size_t)", core.fileTry)
local files                          -- lrun.http.send_file, once it is needed

local states = outgoing.states
local FRESH, HEAD, BEGUN, CODED = states.fresh, states.head, states.begun, states.coded
local ENDED, AWAITED, FINISHED = states.ended, states.awaited, states.finished
local OPENED = core.found.opened
local NO_DATE, CLOSE = outgoing.headFlags.noDate, outgoing.headFlags.close

local REFUSES = 65536                -- in `_headFlags`: the client waits for a word before it sends its body

-- A client that was refused and did not send its body can send nothing else: the connection ends.
local function headFlags(self)
  local bits = self._headFlags
  if bits >= REFUSES then
    bits = bits - REFUSES
    if not self.req.complete then bits = bor(bits, CLOSE) end
  end
  return self.sendDate and bits or bits + NO_DATE
end

-- The end -------------------------------------------------------------------------------------------------------------

local function emitClosed(self)
  if self.closed then return end
  self.destroyed, self.closed = true, true
  self:emit("close")
end

-- In Node's order: `finish`, `close`, then the request's `end` and `close`.
local function emitFinished(self)
  self._state = FINISHED
  self._connection:endLimit(self)
  self.req:_over(self._id)
  nextTick(emitClosed, self)
  self:emit("finish")
end

local function emitError(self)
  if self.errored ~= nil and self:listenerCount("error") > 0 then self:emit("error", self.errored) end
end

-- The connection ended before the response did, or before the kernel had all of it.
local function gone(self, err)
  if self.closed or self._state >= FINISHED then return end
  self.destroyed = true
  outgoing.callBack(self, err)
  outgoing.failFinish(self, err)
  nextTick(emitClosed, self)
  nextTick(emitError, self)          -- whoever listens; nobody else is harmed
  if not self.req.destroyed then self.req:destroy(Connection.lost()) end
end

local function sent(self, err)
  if err ~= nil then return gone(self, err) end
  outgoing.callBack(self)
  nextTick(emitFinished, self)
end

-- Has `sent` called.
local function expect(self)
  if self._state ~= ENDED then return end
  self._state = AWAITED
  self._connection:whenSent(self._id, sent, self)
end

-- Every request comes through here. No closure is made of its variables: the compiler would leave the function alone.
-- What follows is told by `sent`, where there is somebody to hear it.
local function ended(self, callback)
  self._state = ENDED
  local connection = self._connection
  if connection.later or connection.turn ~= self._id then connection:settle(self._id) else connection.response = false end
  if callback then outgoing.whenFinished(self, callback) end
  if rawget(self, "_listeners") or rawget(self, "_waiting") or connection.limited == self or isOpen(self.req) then expect(self) end
end

-- Who listens after `finish` was called is told, too.
for _, name in ipairs { "on", "addListener", "once", "prependListener", "prependOnceListener" } do
  ServerResponse[name] = function(self, event, listener)
    OutgoingMessage[name](self, event, listener)
    self:_onListener()
    return self
  end
end

--- Internal: somebody listens to the response or to its request.
function ServerResponse:_onListener()
  if self._state == ENDED then expect(self) end
end

--- Internal: whether the kernel has all of it.
---@return boolean
function ServerResponse:_isSent()
  return self._state >= FINISHED or self._state >= ENDED and core.sent(self._connection.c) >= self._id
end

--- Internal: the connection is gone, and the response was not sent.
---@param err any? why, when it failed
function ServerResponse:_onLost(err)
  if self.errored == nil then self.errored = err end
  gone(self, Connection.lost())
end

--- Internal: for its request.
---@return HttpConnection
function ServerResponse:_getConnection() return self._connection end

--- Internal: calls `f(res, err)` once the responses before it are written, with an error when that cannot be.
---@param f fun(res: ServerResponse, err: Error?)
function ServerResponse:_whenFirst(f) self._connection:whenSent(self._id - 1, f, self) end

--- Internal: another protocol takes the connection; nobody saw the response.
function ServerResponse:_dismiss()
  self.destroyed = true
  self._connection:settle(self._id)
end

--- Internal: the request was destroyed before its end.
---@param bodyComes boolean its body is being received
function ServerResponse:_onRequestDestroyed(bodyComes)
  local connection = self._connection
  if connection.closed or not bodyComes and self:_isSent() then return end
  if self._state < ENDED then self.destroyed = true end
  connection:giveUp(self._id)
end

--- Gives the response up: the connection is closed, once the responses before this one are written. The error goes to
--- listeners of `error`, if there are any.
---@param err any?
---@return self
function ServerResponse:destroy(err)
  if self.destroyed then return self end
  self.destroyed = true
  if self.errored == nil then self.errored = err end
  local connection = self._connection
  if self._state >= FINISHED then
    nextTick(emitClosed, self)
    nextTick(emitError, self)
  elseif connection.closed then
    expect(self)                     -- one that is not complete is told by the connection
  elseif not (connection.response and self:_isSent()) then
    expect(self)
    connection:giveUp(self._id)
  end
  return self
end

-- The head ------------------------------------------------------------------------------------------------------------

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
  self._state = self._special and self:_startsCoding(status) and CODED or BEGUN
  core.head(self._connection.c, self._id, status, self.statusMessage, self._fields or nil, headFlags(self), flush)
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
  if self._state == CODED then return self:_writeCoded(chunk, callback) end
  return outgoing.written(self, core.write(self._connection.c, self._id, chunk), callback)
end

local function goOn(self)
  if self.writableNeedDrain and not self.destroyed then outgoing.drained(self) end
end

-- A piece that waits for the responses before this one, by a descriptor of its own. Its writer was told to wait.
local function putFileLater(self, fd, offset, length, callback)
  local descriptors = require("lrun.core.files")
  local own = descriptors.hold(fd)
  if not own then return "read", 0 end
  self:_whenFirst(function(_, err)
    local function done(...)
      descriptors.release(own)
      if callback then callback(...) end
    end
    if err ~= nil then return done(err, 0) end
    if self:_writeFile(own, offset, length, nil, done) then nextTick(goOn, self) end      -- else C tells when there is room
  end)
  return false, length
end

--- Internal: a range of a file as the next piece of the body, which never becomes a string; nil where the body is coded: then
--- it is to be read and written. With `piece` what goes at once is taken, and no more than `piece` of the rest, which has a
--- descriptor of its own; without it all is taken. The callback hears when the descriptor is not used any more, and how many
--- bytes of what waited were sent.
---@param fd integer
---@param offset integer
---@param length integer
---@param piece integer? bytes
---@param callback (fun(err: Error?, bytes: integer))?
---@return boolean? more as `write`
---@return integer taken
function ServerResponse:_writeFile(fd, offset, length, piece, callback)
  if self._state >= ENDED or self.destroyed then
    if callback then nextTick(callback, destroy.refusal("write"), 0) end
    return false, length
  end
  if self._state < BEGUN then sendHead(self, false) end
  if self._state == CODED then return nil, 0 end
  local more, taken = outgoing.putFile(self, fd, offset, length, piece, callback)
  if more == "later" then more, taken = putFileLater(self, fd, offset, math.min(length, piece or length), callback) end
  if more == "read" then return nil, 0 end
  return outgoing.written(self, more), taken
end

--- Answers with a file: its type by its name, validators, conditions, ranges, codings beside it. Without a callback failures are
--- answered, with 404, 403, 412, 416 or 500. Throws after the head was sent. Source: Express' res.sendFile.
---@param path string absolute, or below `options.root`
---@param options SendFileOptions|function|nil
---@param callback fun(err: Error?)? called once, when all was sent or with what failed, which has `statusCode`
---@return self
function ServerResponse:sendFile(path, options, callback)
  if type(self) ~= "table" then calls.needsColon("res", "sendFile") end
  files = files or require("lrun.http.send_file")
  files.send(self, path, options, callback)
  return self
end

--- Internal: answers with a file of a site in one step, where nothing has to be waited for or decided.
---@param site userdata
---@param path string|nil the request's own
---@param callback function?
---@return boolean
function ServerResponse:_tryFile(site, path, callback)
  if self._state ~= FRESH or self._fields or self._special or self._headFlags ~= 0 or not self.sendDate then return false end
  if self.statusCode ~= 200 or rawget(self, "statusMessage") then return false end
  local head = self.req:_rawHead()
  local status = fileTry(self._connection.c, self._id, site, path, path and #path or 0, head, #head)
  if status ~= 200 then
    if status >= OPENED then
      status = status - OPENED
      require("lrun.http.send_file").hold(site)
    end
    if status == 0 then return false end
    self.statusCode = status
  end
  ended(self, callback)
  return true
end

local function sendJob(self, job, callback, ...)
  local status = core.fileJudge(job, ...)
  if self._special and status == 200 then return require("lrun.http.piped_file").send(self, job, callback, ...) end
  local message = rawget(self, "statusMessage")
  if message then checkStatusMessage(message) end
  local outcome = core.fileSend(self._connection.c, self._id, job, message, self._fields or nil, headFlags(self), ...)
  if outcome == "later" then
    local preset, count = { ... }, select("#", ...)
    return self:_whenFirst(function(_, err)
      if err == nil and not self.destroyed then return sendJob(self, job, callback, unpack(preset, 1, count)) end
      core.fileClose(job)
      if callback then nextTick(callback, err or destroy.refusal("write")) end
    end)
  end
  core.fileClose(job)
  if not outcome then
    if callback then nextTick(callback, Connection.lost()) end
    return
  end
  self.statusCode = status
  ended(self, callback)
end

--- Internal: answers with the file that a job has found and opened. The rest: what the program has set, as C takes it.
---@param job userdata
---@param callback function?
function ServerResponse:_sendJob(job, callback, ...) return sendJob(self, job, callback, ...) end

-- The last piece of a response with trailers, or whose body may be coded, as it is sent; its head is sent where the body began.
-- The second result: it is being sent over several turns.
local function takeLast(self, chunk)
  if self._state < BEGUN and not self._trailerLines then
    local status = checkStatus(self.statusCode)
    checkStatusMessage(self.statusMessage)
    if not self:_isSliced(chunk, status) then return self:_codeWhole(chunk, status) end
  end
  if self._state < BEGUN then sendHead(self, false) end
  if self._state == CODED then return self:_codeLast(chunk) end
  return chunk
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
  if state ~= BEGUN and self._special then
    local later
    chunk, later = takeLast(self, chunk)
    if self.destroyed then
      outgoing.finishAgain(self, nil, callback)
      return self
    end
    if later then
      ended(self, callback)
      return self
    end
    state = self._state
  end
  if state >= BEGUN then
    core.finish(self._connection.c, self._id, chunk, self._trailerLines or nil)
  else
    local c, id, status, text, fields, bits = self._connection.c, self._id, self.statusCode, rawget(self, "statusMessage"),
      self._fields, headFlags(self)
    if status ~= 200 then status = checkStatus(status) end
    if text then checkStatusMessage(text) end
    local isPlain = status == 200 and bits == 0 and chunk and not text and not fields
    if not (isPlain and respondPlain(c, id, chunk, #chunk) == 1) then
      core.respond(c, id, status, text, fields or nil, chunk, bits)
    end
  end
  ended(self, callback)
  return self
end

local function interim(self, text)
  if self._state == FRESH then core.raw(self._connection.c, self._id, text) end
end

--- Tells a client that waits before it sends its body to go on.
function ServerResponse:writeContinue()
  self._headFlags = band(self._headFlags, REFUSES - 1)
  interim(self, "HTTP/1.1 100 Continue\r\n\r\n")
end

--- Internal: the client waits for a word before it sends its body; without one the connection ends with the response.
function ServerResponse:_expectsWord() self._headFlags = bor(self._headFlags, REFUSES) end

--- Internal: the connection ends with this response.
function ServerResponse:_isLast() self._headFlags = CLOSE end

--- Internal: whether something of it was written.
---@return boolean
function ServerResponse:_hasBegun() return self._state >= BEGUN end

--- Internal: nothing of it was written yet, and what was set is void.
---@param status integer
function ServerResponse:_startOver(status)
  self._fields, self._places, self._trailerLines, self._special, self._state = false, nil, false, nil, FRESH
  self.statusMessage, self.statusCode, self._headFlags = nil, status, CLOSE
end

--- Tells the client that the answer takes time.
function ServerResponse:writeProcessing() interim(self, "HTTP/1.1 102 Processing\r\n\r\n") end

--- Sends headers ahead of the response, mostly `link`.
---@param hints table<string, string|string[]>
---@param callback function?
function ServerResponse:writeEarlyHints(hints, callback)
  validate.table(hints, "hints")
  local lines = { "HTTP/1.1 103 Early Hints\r\n" }
  outgoing.forEach(hints, function(name, value)
    outgoing.lowerName(name)
    value = outgoing.checkValue(name, value)
    if type(value) == "table" then value = table.concat(value, ", ") end
    if value ~= "" then lines[#lines + 1] = name .. ": " .. value .. "\r\n" end
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

--- Calls the listener after `ms` without traffic on the connection, or closes it where nobody listens; the limit ends with
--- the response.
---@param ms integer
---@param listener function?
---@return self
function ServerResponse:setTimeout(ms, listener)
  Connection.checkLimit(ms)
  if listener then self:on("timeout", listener) end
  if self._state >= ENDED then return self end
  local connection = self._connection
  if connection.response == self then connection:limit(self, ms) else self._timeLimit = ms end
  return self
end

--- Internal: the responses before it are complete.
function ServerResponse:_onTurn()
  if self._timeLimit then self._connection:limit(self, self._timeLimit) end
end

-- Its connection's, until that was given away.
local function socket(self)
  local connection = self._connection
  return connection.closed ~= "detached" and connection:getSocket() or nil
end

calls.methods(ServerResponse, "res", { writeHead = true, write = true, finish = true, sendFile = true })
outgoing.define(ServerResponse, { socket = socket, connection = socket })

--- Internal: its request is there; for classes that take notice.
function ServerResponse:_begin() end

--- Internal: whether its body, of which the first piece comes, is coded; see lrun.http.compressed_response.
---@return boolean
function ServerResponse._startsCoding() return false end

-- A response of a connection; its request is to be set. Constants first: a constructor with only constants is one copy of
-- a table of the right size.
local function make(connection, id, class)
  local self = { _connection = false, _id = 0, req = false, _state = 0, statusCode = 200 }
  self._connection, self._id = connection, id
  return setmetatable(self, class)
end

return { ServerResponse = ServerResponse, make = make }
