--- The server of `lrun serve`: http.serveFiles over HTTP or HTTPS, with a password, other origins, a line for each request. It owns its
--- listener; who ends the process is its caller.
local http = require("http")

local server = {}

---@class ServeOptions
---@field root string absolute
---@field port integer
---@field host string
---@field spa boolean?
---@field listing boolean?
---@field maxAge integer? seconds
---@field cors boolean?
---@field dotfiles string?
---@field cert string? a file
---@field key string? a file
---@field user string?
---@field password string?
---@field quiet boolean?

-- Whether two texts are the same, in a time that tells nothing of where they differ.
local function same(a, b)
  local difference = #a == #b and 0 or 1
  for i = 1, #b do difference = bit.bor(difference, bit.bxor(a:byte(i) or 0, b:byte(i))) end
  return difference == 0
end

-- A function that says whether a request has the password.
local function guard(options)
  if not options.user then return nil end
  local wanted = options.user .. ":" .. (options.password or "")
  return function(req)
    local given = (req.headers.authorization or ""):match("^[Bb][Aa][Ss][Ii][Cc]%s+(%S+)%s*$")
    local ok, text = pcall(require("base64").decode, given or "")
    return same(ok and text or "", wanted)
  end
end

local function refuse(res)
  res:writeHead(401, { ["WWW-Authenticate"] = 'Basic realm="files", charset="UTF-8"', ["Content-Type"] = "text/plain; charset=utf-8" })
  res:finish("Unauthorized\n")
end

-- Pages of other origins may read what is here.
local function allowOrigins(req, res)
  res:setHeader("Access-Control-Allow-Origin", "*")
  if req.method ~= "OPTIONS" then
    res:setHeader("Access-Control-Expose-Headers", "Content-Length, Content-Range, ETag")
    return false
  end
  res:setHeader("Access-Control-Allow-Methods", "GET, HEAD")
  res:setHeader("Access-Control-Allow-Headers", "*")
  res:writeHead(204)
  res:finish()
  return true
end

local function handler(options)
  local files = http.serveFiles(options.root, {
    fallback = options.spa and "index.html" or nil, listing = options.listing, maxAge = (options.maxAge or 0) * 1000, dotfiles = options.dotfiles,
  })
  local allows, cors = guard(options), options.cors
  if not allows and not cors then return files end
  return function(req, res)
    if cors and allowOrigins(req, res) then return end
    if allows and not allows(req) then return refuse(res) end
    return files(req, res)
  end
end

-- A line for people.
local function writeLine(entry)
  io.stderr:write(("%s %s %s %s %d %d %.1f ms%s\n"):format(os.date("%H:%M:%S"), entry.remoteAddress or "-", entry.method, entry.url, entry.status,
    entry.bytes, entry.duration, entry.aborted and " aborted" or ""))
end

local function read(path)
  local file, why = io.open(path, "rb")
  if not file then error({ usage = "serve: " .. why }, 0) end
  local text = file:read("*a")
  file:close()
  return text
end

--- Makes the server.
---@param options ServeOptions
---@return HttpServer
function server.make(options)
  local given = {}
  if not options.quiet and process.stderr.isTTY then given.accessLog = writeLine end
  if not options.cert then return http.createServer(given, handler(options)) end
  given.cert, given.key = read(options.cert), read(options.key)
  local ok, made = pcall(require("https").createServer, given, handler(options))
  if not ok then error({ usage = "serve: --cert and --key: " .. tostring(type(made) == "table" and made.message or made) }, 0) end
  return made
end

--- Its address as people type it.
---@param options ServeOptions
---@param port integer
---@return string
function server.address(options, port)
  local host = options.host:find(":", 1, true) and ("[%s]"):format(options.host) or options.host
  return ("%s://%s:%d"):format(options.cert and "https" or "http", host, port)
end

--- Why it could not listen, in one line.
---@param options ServeOptions
---@param err Error
---@return string
function server.problem(options, err)
  if err.code == "EADDRINUSE" then return ("serve: port %d of %s is taken"):format(options.port, options.host) end
  return ("serve: cannot listen on port %d of %s: %s"):format(options.port, options.host, err.message)
end

return server
