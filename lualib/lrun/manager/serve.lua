--- The static server of `lrun serve`: files below one folder, an index for folders, nothing outside. A request is decoded, its path
--- resolved without leaving the folder, also not by a link, and the file streamed. The user and password that it asks for come by the
--- environment, where no list of processes shows them.
local fs = require("fs")
local http = require("http")
local uv = require("luv")

local serve = {}

local TYPES = {
  html = "text/html; charset=utf-8", htm = "text/html; charset=utf-8", css = "text/css; charset=utf-8", js = "text/javascript; charset=utf-8",
  mjs = "text/javascript; charset=utf-8", json = "application/json; charset=utf-8", map = "application/json", txt = "text/plain; charset=utf-8",
  md = "text/markdown; charset=utf-8", xml = "application/xml", svg = "image/svg+xml", png = "image/png", jpg = "image/jpeg", jpeg = "image/jpeg",
  gif = "image/gif", webp = "image/webp", avif = "image/avif", ico = "image/x-icon", pdf = "application/pdf", wasm = "application/wasm",
  woff = "font/woff", woff2 = "font/woff2", ttf = "font/ttf", mp4 = "video/mp4", webm = "video/webm", mp3 = "audio/mpeg", zip = "application/zip",
}

local function typeOf(path) return TYPES[(path:match("%.([%w]+)$") or ""):lower()] or "application/octet-stream" end

--- The path below the folder that a request's means; nil and a status for one that cannot be. Pure.
---@param target string as the request has it
---@return string? path begins with a slash, without dots
---@return integer? status
function serve.path(target)
  local path = target:match("^[^?#]*")
  local bad = false
  path = path:gsub("%%(..?)", function(pair)
    local number = pair:find("^%x%x$") and tonumber(pair, 16)
    if not number then bad = true return "" end
    return string.char(number)
  end)
  if bad or path:find("%%$") or path:sub(1, 1) ~= "/" or path:find("[%z\\]") then return nil, 400 end
  local parts = {}
  for part in path:gmatch("[^/]+") do
    if part == ".." then return nil, 403 end
    if part:sub(1, 1) == "." and part ~= "." and part ~= ".well-known" then return nil, 404 end
    if part ~= "." then parts[#parts + 1] = part end
  end
  return "/" .. table.concat(parts, "/") .. (path:find("/$") and #parts > 0 and "/" or "")
end

local function answer(res, status, text)
  local body = text .. "\n"
  res:writeHead(status, { ["Content-Type"] = "text/plain; charset=utf-8", ["Content-Length"] = #body, ["X-Content-Type-Options"] = "nosniff" })
  res:finish(body)
end

-- The real file, where it is below the root.
local function locate(root, path)
  local real = uv.fs_realpath(root .. path)
  if not real or real ~= root and real:sub(1, #root + 1) ~= root .. "/" then return nil end
  return real, uv.fs_stat(real)
end

local function send(req, res, path, stat)
  local etag = ('W/"%x-%x"'):format(stat.size, stat.mtime.sec)
  local headers = {
    ["Content-Type"] = typeOf(path), ["ETag"] = etag, ["Last-Modified"] = os.date("!%a, %d %b %Y %H:%M:%S GMT", stat.mtime.sec),
    ["X-Content-Type-Options"] = "nosniff",
  }
  if req.headers["if-none-match"] == etag then
    res:writeHead(304, headers)
    return res:finish()
  end
  headers["Content-Length"] = stat.size
  res:writeHead(200, headers)
  if req.method == "HEAD" or stat.size == 0 then return res:finish() end
  local stream = fs.createReadStream(path)
  stream:on("error", function() res:destroy() end)
  res:on("close", function() stream:destroy() end)
  stream:pipe(res)
end

local function same(a, b)
  local difference = #a == #b and 0 or 1
  for i = 1, math.max(#a, #b) do difference = bit.bor(difference, bit.bxor(a:byte(i) or 0, b:byte(i) or 0)) end
  return difference == 0
end

local function isAllowed(options, req)
  if not options.user then return true end
  local given = (req.headers.authorization or ""):match("^[Bb]asic%s+(%S+)$")
  local ok, text = pcall(require("base64").decode, given or "")
  return ok and text ~= nil and same(text, options.user .. ":" .. (options.password or ""))
end

local function handle(options, req, res)
  req:resume()
  if not isAllowed(options, req) then
    res:setHeader("WWW-Authenticate", 'Basic realm="files"')
    return answer(res, 401, "who are you?")
  end
  if req.method ~= "GET" and req.method ~= "HEAD" then
    res:setHeader("Allow", "GET, HEAD")
    return answer(res, 405, "GET or HEAD")
  end
  local path, status = serve.path(req.url)
  if not path then return answer(res, status, status == 400 and "no path" or "not found") end
  local real, stat = locate(options.root, path)
  if stat and stat.type == "directory" then
    if not path:find("/$") then
      res:writeHead(301, { Location = path:gsub("[^%w/._~-]", function(c) return ("%%%02X"):format(c:byte()) end) .. "/", ["Content-Length"] = 0 })
      return res:finish()
    end
    real, stat = locate(options.root, path .. "index.html")
  end
  if (not stat or stat.type ~= "file") and options.spa then real, stat = locate(options.root, "/index.html") end
  if not stat or stat.type ~= "file" then return answer(res, 404, "not found") end
  send(req, res, real, stat)
end

--- Serves a folder until it is ended.
---@param options { root: string, port: integer, host: string, spa: boolean?, user: string?, password: string? }
function serve.run(options)
  options.root = assert(uv.fs_realpath(options.root))
  local server = http.createServer(function(req, res) handle(options, req, res) end)
  server:on("error", function(err)
    io.stderr:write("lrun: serve: ", tostring(err), "\n")
    process.exit(1)
  end)
  server:listen(options.port, options.host, function()
    local shown = options.host:find(":", 1, true) and ("[%s]"):format(options.host) or options.host
    io.stdout:write(("http://%s:%d\n"):format(shown, server:address().port))
    io.stdout:flush()
    if process.send then process.send("ready") end
  end)
  local function stop()
    server:close(function() process.exit(0) end)
    server:closeIdleConnections()
  end
  process:on("SIGTERM", stop)
  process:on("SIGINT", stop)
end

return serve
