--- A client's side of the opening handshake: `WebSocket:new(url)` asks by a request of http or https, follows redirects where
--- it may, checks the answer, and hangs the socket on the request's stream.
---
--- The job of a socket that connects is in `socket._job` until it is open or has failed; `close` and `terminate` give it up.
local base64 = require("base64")
local core = require("lrun.core.websocket")
local errors = require("errors")
local extension = require("lrun.websocket.extension")
local handshake = require("lrun.websocket.handshake")
local process = require("process")
local serverOptions = require("lrun.websocket.options")
local sockets = require("lrun.websocket.socket")
local timers = require("timers")
local urls = require("url")
local validate = require("lrun.check.validate")
local Group = require("lrun.websocket.group")

local client = {}

local nextTick = process.nextTick
local states = core.states
local MAX_REDIRECTS = 10
local DEFAULTS = { maxPayload = 100 * 1024 * 1024, closeTimeout = 30000 }
local PORTS = { ["ws:"] = "http", ["wss:"] = "https" }

-- Arguments -----------------------------------------------------------------------------------------------------------

local TOKEN = "^[!#$%%&'*+%-.^_`|~%w]+$"

local function badProtocol()
  error(errors.coded("ERR_INVALID_ARG_VALUE", "An invalid or duplicated subprotocol was specified"), 0)
end

local function checkProtocols(protocols)
  if protocols == nil then return {} end
  if type(protocols) == "string" then protocols = { protocols } end
  if type(protocols) ~= "table" then error(errors.argType("protocols", "string or table", protocols), 0) end
  local seen = {}
  for _, name in ipairs(protocols) do
    if type(name) ~= "string" or not name:find(TOKEN) or seen[name] then badProtocol() end
    seen[name] = true
  end
  return protocols
end

-- Options in the place of protocols.
local function isOptions(given) return type(given) == "table" and given[1] == nil and next(given) ~= nil end

-- "ws+unix:/run/chat.sock:/room?name=a": the socket's path, and the request's.
local function unixAddress(text)
  local rest = text:match("^ws%+unix:(.*)$"):gsub("^//", "")
  local path, target = rest:match("^([^:]*):?(.*)$")
  if path == "" then
    error(errors.coded("ERR_INVALID_URL", 'Invalid URL: ws+unix: needs the path of a socket, as in "ws+unix:/run/chat.sock:/path"'), 0)
  end
  if target:find("#", 1, true) then error(errors.coded("ERR_INVALID_URL", "The URL contains a fragment identifier"), 0) end
  return { href = text, secure = false, socketPath = path, path = target ~= "" and target or "/", place = "unix:" .. path }
end

-- An address as what a request needs of it.
local function addressOf(given, base)
  if type(given) == "table" and type(given.href) == "string" then given = given.href end
  if type(given) ~= "string" then error(errors.argType("url", "string or an instance of URL", given), 0) end
  if given:find("^ws%+unix:") then return unixAddress(given) end
  local url = urls.URL:new(given, base)
  if url.protocol == "http:" then url.protocol = "ws:" elseif url.protocol == "https:" then url.protocol = "wss:" end
  if not PORTS[url.protocol] then
    error(errors.coded("ERR_INVALID_URL", 'The URL\'s protocol must be one of "ws:", "wss:", "http:", "https:", or "ws+unix:"'), 0)
  end
  if url.hostname == "" then error(errors.coded("ERR_INVALID_URL", "Invalid URL: it has no host"), 0) end
  if url.hash ~= "" then error(errors.coded("ERR_INVALID_URL", "The URL contains a fragment identifier"), 0) end
  local unescape = require("querystring").unescape
  local named = url.username ~= "" or url.password ~= ""
  return {
    href = url.href, secure = url.protocol == "wss:", host = url.hostname:match("^%[(.*)%]$") or url.hostname,
    port = tonumber(url.port), path = url.pathname .. url.search, place = url.protocol .. url.host,
    auth = named and unescape(url.username) .. ":" .. unescape(url.password) or nil,
  }
end

local function checkOptions(options)
  validate.table(options, "options")
  for _, name in ipairs{ "followRedirects" } do validate.optional(validate.boolean, options[name], "options." .. name) end
  validate.optional(validate.integer, options.maxRedirects, "options.maxRedirects", 0)
  validate.optional(validate.integer, options.handshakeTimeout, "options.handshakeTimeout", 0, 2147483647)
  validate.optional(validate.string, options.origin, "options.origin")
  validate.optional(validate.table, options.headers, "options.headers")
end

-- Clients with the same limits are one group.
local groups = setmetatable({}, { __mode = "v" })

local function groupFor(settings)
  local parts = {}
  for name, value in pairs(settings) do parts[#parts + 1] = name .. "=" .. tostring(value) end
  table.sort(parts)
  local key = table.concat(parts, ",")
  local group = groups[key]
  if not group then
    group = Group.new(false, settings)
    groups[key] = group
  end
  return group
end

-- The end of a job ----------------------------------------------------------------------------------------------------

local function stop(job)
  job.over = true
  job.socket._abort = nil
  if job.timer then timers.clearTimeout(job.timer) end
end

-- The handshake failed: `error`, then `close`.
local function fail(job, err)
  if job.over then return end
  stop(job)
  local socket, request = job.socket, job.request
  socket.readyState = states.CLOSING
  if request then
    request:on("error", function() end)
    request:destroy()
  end
  nextTick(function()
    socket.readyState = states.CLOSED
    nextTick(socket.emit, socket, "close", core.limits.abnormal, "")     -- also where nobody listens to `error`, which throws
    socket:emit("error", err)
  end)
end

local function failWith(job, message) fail(job, errors.coded("WS_ERR_HANDSHAKE", message)) end

-- The answer ----------------------------------------------------------------------------------------------------------

-- What is wrong with the subprotocol that a server has chosen.
local function wrongProtocol(job, chosen)
  if not chosen then return #job.protocols > 0 and "Server sent no subprotocol" or nil end
  if #job.protocols == 0 then return "Server sent a subprotocol but none was requested" end
  for _, name in ipairs(job.protocols) do if name == chosen then return nil end end
  return "Server sent an invalid subprotocol"
end

-- What was agreed on of compression, or nil and what is wrong.
local function agree(job, header)
  if not header then return false end
  if not job.deflate then
    return nil, "Server sent a Sec-WebSocket-Extensions header but no extension was requested"
  end
  local agreement = extension.agree(header, job.deflate)
  if not agreement then return nil, "Invalid Sec-WebSocket-Extensions header" end
  return agreement
end

local function onUpgrade(job, response, connection, head)
  local socket = job.socket
  socket:emit("upgrade", response)
  if job.over then return connection:destroy() end
  local function refuse(message)
    connection:destroy()
    failWith(job, message)
  end
  local headers = response.headers
  if (headers.upgrade or ""):lower() ~= "websocket" then return refuse("Invalid Upgrade header") end
  if headers["sec-websocket-accept"] ~= handshake.accept(job.key) then return refuse("Invalid Sec-WebSocket-Accept header") end
  local chosen = headers["sec-websocket-protocol"]
  local wrong = wrongProtocol(job, chosen)
  if wrong then return refuse(wrong) end
  local agreement
  agreement, wrong = agree(job, headers["sec-websocket-extensions"])
  if wrong then return refuse(wrong) end
  connection:on("error", function() end)
  local handle, received = connection:_detach()
  job.request = nil
  local open = handle and sockets.attach(socket, job.group, handle, chosen or "", agreement)
  if not open then return failWith(job, "socket hang up") end
  stop(job)
  nextTick(sockets.start, socket, head .. received)        -- behind the listeners of `open`
  socket:emit("open")
end

-- Asking --------------------------------------------------------------------------------------------------------------

local OWN = {
  perMessageDeflate = true, followRedirects = true, maxRedirects = true, handshakeTimeout = true, origin = true, maxPayload = true,
  backpressureLimit = true, idleTimeout = true, pingInterval = true, closeTimeout = true, stallTimeout = true, onBackpressure = true,
  method = true, hostname = true, protocol = true, href = true, timeout = true, compress = true, headers = true, defaultPort = true,
}

local function headersFor(job)
  local options, headers = job.options, {}
  for name, value in pairs(options.headers or {}) do
    local private = job.stranger and type(name) == "string" and (name:lower() == "authorization" or name:lower() == "cookie"
      or name:lower() == "host")
    if not private then headers[name] = value end
  end
  headers["Sec-WebSocket-Version"] = "13"
  headers["Sec-WebSocket-Key"] = job.key
  headers.Connection = "Upgrade"
  headers.Upgrade = "websocket"
  if job.deflate then headers["Sec-WebSocket-Extensions"] = extension.offer(job.deflate) end
  if #job.protocols > 0 then headers["Sec-WebSocket-Protocol"] = table.concat(job.protocols, ",") end
  if options.origin then headers.Origin = options.origin end
  return headers
end

local function requestOptions(job)
  local address, all = job.address, {}
  for name, value in pairs(job.options) do if not OWN[name] then all[name] = value end end
  all.host, all.port, all.path, all.socketPath = address.host, address.port, address.path, address.socketPath
  if job.stranger then all.auth = nil end
  all.auth = address.auth or all.auth
  if all.agent == nil then all.agent = false end
  all.headers = headersFor(job)
  return all
end

local ask

local REDIRECTS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

local function redirect(job, response)
  job.redirects = job.redirects + 1
  if job.redirects > (job.options.maxRedirects or MAX_REDIRECTS) then return failWith(job, "Maximum redirects exceeded") end
  local ok, address = pcall(addressOf, response.headers.location, job.address.socketPath and "ws://localhost" or job.address.href)
  if not ok then return fail(job, address) end
  if job.address.socketPath and address.host == "localhost" then
    address.socketPath, address.host, address.place = job.address.socketPath, nil, job.address.place
  end
  local leavesTls = job.address.secure and not address.secure
  if job.first ~= address.place or leavesTls then job.stranger = true end
  job.request:on("error", function() end)
  job.request:destroy()
  job.address, job.socket.url = address, address.href
  ask(job)
end

local function onResponse(job, request, response)
  if job.over then return end
  local status = response.statusCode
  if REDIRECTS[status] and job.options.followRedirects and response.headers.location then return redirect(job, response) end
  if job.socket:emit("unexpected-response", request, response) then return end
  failWith(job, ("Unexpected server response: %d"):format(status))
end

function ask(job)
  local bytes = require("luv").random(16)
  job.key = base64.encode(bytes)
  local made, request = pcall(require(job.address.secure and "https" or "http").request, requestOptions(job))
  if not made then
    if job.redirects == 0 then error(request, 0) end
    return fail(job, request)
  end
  job.request = request
  if job.redirects > 0 then job.socket:emit("redirect", job.address.href, request) end
  request:on("upgrade", function(response, connection, head)
    if job.over or job.request ~= request then return connection:destroy() end
    onUpgrade(job, response, connection, head)
  end)
  request:on("response", function(response) if job.request == request then onResponse(job, request, response) end end)
  request:on("error", function(err) if job.request == request then fail(job, err) end end)
  request:finish()
end

--- Connects a socket that was just made.
---@param socket WebSocket
---@param url string|URL
---@param protocols string|string[]|WebSocketOptions|nil
---@param options WebSocketOptions?
function client.connect(socket, url, protocols, options)
  if options == nil and isOptions(protocols) then protocols, options = nil, protocols end
  options = options or {}
  checkOptions(options)
  local deflate = extension.options(options.perMessageDeflate, true)
  local numbers = serverOptions.numbers(options, DEFAULTS)
  local job = {
    socket = socket, options = options, deflate = deflate, protocols = checkProtocols(protocols), address = addressOf(url),
    group = groupFor(serverOptions.settings(numbers, deflate, false)), redirects = 0,
  }
  job.first = job.address.place
  socket.url = job.address.href
  socket._abort = function() failWith(job, "WebSocket was closed before the connection was established") end
  if options.handshakeTimeout and options.handshakeTimeout > 0 then
    job.timer = timers.setTimeout(function() failWith(job, "Opening handshake has timed out") end, options.handshakeTimeout)
  end
  ask(job)
end

return client
