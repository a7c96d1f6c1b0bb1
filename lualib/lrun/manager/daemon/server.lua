--- A socket that answers calls, the daemon's and that of a process that is looked into: who may connect, the lines that they send,
--- and the answers. A client is the owner, or root. One that sends garbage, or a line without end, is told and left; one that sends
--- nothing costs a descriptor; of one that does not read its answers no more is taken until it does.
---   in:  {"id":1,"call":"stop","args":{…}}     out: {"version":…} first; then {"id":1,"event":…} …, {"id":1,"ok":…} or {"id":1,"error":{…}}
local uv = require("luv")
local home = require("lrun.manager.home")
local json = require("json")
local supervise = require("lrun.core.supervise")
local system = require("lrun.core.system")
local wire = require("lrun.manager.wire")

local MAX_CLIENTS = 512

local server = {}

local count = 0

-- Safe to repeat.
local function close(client)
  if client.closed then return end
  client.closed = true
  count = count - 1
  if not client.pipe:is_closing() then client.pipe:close() end
  if client.onClose then client.onClose() end
end

-- The last words, then the end.
local function refuse(client, code, message)
  client.left = true
  client.send({ error = { code = code, message = message } }, true)
  client.pipe:read_stop()
  client.pipe:shutdown(function() close(client) end)
end

-- What an answer can repeat: JSON has no number without end, though one of its numbers may be read as that.
local function isId(id)
  return id == nil or id == json.null or type(id) == "string" or type(id) == "number" and math.abs(id) < math.huge
end

local function onLine(client, line, handle)
  local ok, request = pcall(json.decode, line)
  if not ok or type(request) ~= "table" or type(request.call) ~= "string" then
    return refuse(client, "protocol", "a line has to be an object with \"call\"")
  end
  request = wire.unpack(request)
  local args = type(request.args) == "table" and request.args or {}
  local id = request.id
  if not isId(id) then return refuse(client, "protocol", "an id is a text or a number") end
  local answered = false
  handle(client, request.call, args, {
    event = function(event) client.send{ id = id, event = event } end,
    ok = function(value)
      if answered then return end
      answered = true
      client.send({ id = id, ok = value == nil and json.null or value }, true)
    end,
    fail = function(err)
      if answered then return end
      answered = true
      client.send({ id = id, error = { code = err.code, message = err.message, hint = err.hint, exit = err.exit } }, true)
    end,
  })
end

-- Calls, one line after the other, while he reads what he is answered: those of one piece that was read may wait here.
local function takeLines(client)
  while client.lines[client.taken + 1] and not client.closed and not client.left do
    if client.pipe:get_write_queue_size() > wire.MAX_QUEUE then
      client.waits = true
      client.pipe:read_stop()
      return
    end
    client.taken = client.taken + 1
    onLine(client, client.lines[client.taken], client.onCall)
  end
  client.lines, client.taken = {}, 0
end

local function read(client)
  client.pipe:read_start(function(err, data)
    if err or not data then return close(client) end
    local fits = client.reader.feed(data)
    takeLines(client)
    if fits or client.closed or client.left then return end
    refuse(client, "protocol", ("a line has more than %d bytes"):format(wire.MAX_LINE))
  end)
end

-- While nothing is read from him, only this tells that he is gone.
local function onWritten(client, err)
  if err then return close(client) end
  if not client.waits or client.closed or client.left then return end
  if client.pipe:get_write_queue_size() > wire.MAX_QUEUE / 2 then return end
  client.waits = false
  takeLines(client)
  if not client.waits and not client.closed and not client.left then read(client) end
end

local function accept(listener, options)
  local pipe = uv.new_pipe(false)
  if not listener:accept(pipe) then return pipe:close() end
  local uid = supervise.peer(pipe:fileno())
  if uid ~= system.geteuid() and uid ~= 0 then return pipe:close() end
  count = count + 1
  local client = { pipe = pipe, onCall = options.onCall, lines = {}, taken = 0 }
  client.send = wire.writer(pipe, function(err) onWritten(client, err) end)
  if count > MAX_CLIENTS then return refuse(client, "busy", ("more than %d clients"):format(MAX_CLIENTS)) end
  client.reader = wire.reader(wire.MAX_LINE, function(line) table.insert(client.lines, line) end)
  client.close = function() close(client) end
  client.send(options.greeting(), true)
  if options.onClient then options.onClient(client) end
  read(client)
end

---@class CallServer
---@field folder string
---@field name string of the socket in it
---@field greeting fun(): table
---@field onCall fun(client: table, call: string, args: table, answer: table)
---@field onClient (fun(client: table))? somebody connected; `client.onClose` is called at the end, `client.close()` makes it

--- Listens on a unix socket.
---@param options CallServer
---@return uv_pipe_t? listener
---@return string? code
function server.listen(options)
  return home.listen(options.folder, options.name, function(listener) accept(listener, options) end)
end

return server
