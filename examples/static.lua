-- static.lua: serves a folder: types, ranges, conditional requests, index.html or a listing. Files are streamed: a slow
-- reader costs no more than a stream's high-water mark.
-- Run it with `lrun examples/static.lua [FOLDER]` (default: where you are; PORT in the environment: 8000) and open http://localhost:8000.
-- PORT may be in the environment, too.
-- Nothing outside the folder is served: not by `..`, encoded or not, and not by a symbolic link that leads out. What was
-- opened is asked where it really is, so a link that is swapped meanwhile leads nowhere. Names with a leading dot
-- (.git, .env) are not served.
local await = require("await")
local fs = require("fs")
local http = require("http")
local path = require("path")
local stream = require("stream")

local ROOT = fs.realpathSync(process.argv[2] or ".")
local PORT = tonumber(process.env.PORT) or 8000
-- Not waiting for the other end of a named pipe.
local OPEN = fs.constants.O_RDONLY + fs.constants.O_NONBLOCK

local TYPES = {
  html = "text/html; charset=utf-8", htm = "text/html; charset=utf-8", css = "text/css; charset=utf-8",
  js = "text/javascript; charset=utf-8", mjs = "text/javascript; charset=utf-8", json = "application/json",
  txt = "text/plain; charset=utf-8", md = "text/markdown; charset=utf-8", lua = "text/plain; charset=utf-8",
  csv = "text/csv; charset=utf-8", xml = "application/xml", svg = "image/svg+xml", png = "image/png",
  jpg = "image/jpeg", jpeg = "image/jpeg", gif = "image/gif", webp = "image/webp", avif = "image/avif",
  ico = "image/x-icon", woff = "font/woff", woff2 = "font/woff2", ttf = "font/ttf", wasm = "application/wasm",
  pdf = "application/pdf", zip = "application/zip", gz = "application/gzip", mp3 = "audio/mpeg", mp4 = "video/mp4",
  webm = "video/webm",
}

local MONTHS = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12 }

local function httpDate(ms) return os.date("!%a, %d %b %Y %H:%M:%S GMT", math.floor(ms / 1000)) end

-- Seconds since 1970 of "Sun, 06 Nov 1994 08:49:37 GMT"; nil for anything else.
local function parseDate(text)
  local day, month, year, hour, minute, second = (text or ""):match("^%a%a%a, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$")
  month = MONTHS[month]
  if not month then return nil end
  day, year = tonumber(day), tonumber(year)
  local shifted = month > 2 and year or year - 1          -- years from March on: the leap day comes last
  local days = 365 * shifted + math.floor(shifted / 4) - math.floor(shifted / 100) + math.floor(shifted / 400)
    + math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 719469
  return days * 86400 + hour * 3600 + minute * 60 + second
end

local function answer(res, status, text, headers)
  res:writeHead(status, headers)
  res:finish(text)
end

-- The path that a URL asks for, absolute within the folder; nil when it is malformed.
local function requestedPath(url)
  local text = url:gsub("^[hH][tT][tT][pP]://[^/?]*", ""):match("^[^?]*")
  if text:sub(1, 1) ~= "/" or text:gsub("%%%x%x", ""):find("%%") then return nil end
  text = text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
  if text:find("\0", 1, true) then return nil end
  return path.normalize(text)
end

local function encodePath(text)
  return (text:gsub("[^%w%-._~/]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local function escapeHtml(text)
  return (text:gsub("[&<>\"']", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }))
end

-- Opens what is at `name` below the folder. Returns the descriptor and its stats, or nil and a status.
local function open(name)
  local err, fd = await(fs.open, path.join(ROOT, name), OPEN)
  if err then return nil, err.code == "EACCES" and 403 or err.code == "EMFILE" and 503 or 404 end
  local failed, stats = await(fs.fstat, fd)
  local lost, real = await(fs.readlink, "/proc/self/fd/" .. fd)
  local inside = not lost and (ROOT == "/" or real == ROOT or real:sub(1, #ROOT + 1) == ROOT .. "/")
  if failed or not inside or not (stats:isFile() or stats:isDirectory()) then
    fs.closeSync(fd)
    return nil, inside and 404 or 403
  end
  return fd, stats
end

-- Lists the directory that is open, and closes it.
local function listing(res, method, fd, name)
  local err, entries = await(fs.readdir, "/proc/self/fd/" .. fd, { withFileTypes = true })
  fs.closeSync(fd)
  if err then return answer(res, 403, "Forbidden\n") end
  local title = escapeHtml(name)
  local lines = { "<!doctype html><meta charset=\"utf-8\"><title>", title, "</title><h1>", title, "</h1>\n<ul>\n" }
  if name ~= "/" then lines[#lines + 1] = "<li><a href=\"../\">../</a>\n" end
  for _, entry in ipairs(entries) do
    if entry.name:sub(1, 1) ~= "." then
      local each = entry.name .. (entry:isDirectory() and "/" or "")
      lines[#lines + 1] = ("<li><a href=\"./%s\">%s</a>\n"):format(encodePath(each), escapeHtml(each))
    end
  end
  lines[#lines + 1] = "</ul>\n"
  local body = table.concat(lines)
  res:setHeader("Content-Type", "text/html; charset=utf-8")
  res:setHeader("Content-Length", #body)
  answer(res, 200, method == "GET" and body or nil)
end

local function listed(list, tag)
  if list:match("^%s*%*%s*$") then return true end
  for each in list:gmatch('"[^"]*"') do
    if each == tag then return true end
  end
  return false
end

local function notModified(headers, tag, stats)
  local tags = headers["if-none-match"]
  if tags then return listed(tags, tag) end
  local since = parseDate(headers["if-modified-since"])
  return since ~= nil and math.floor(stats.mtimeMs / 1000) <= since
end

-- The one range that is asked for: first and last byte; false when it lies behind the end; nil: the whole file.
local function requestedRange(headers, tag, stats)
  local from, to = (headers.range or ""):match("^%s*[bB][yY][tT][eE][sS]=%s*(%d*)%-(%d*)%s*$")
  if not from or from == "" and to == "" then return nil end
  local unless = headers["if-range"]
  if unless and unless ~= tag and unless ~= httpDate(stats.mtimeMs) then return nil end
  local size = stats.size
  from, to = tonumber(from), tonumber(to)
  if not from then
    if to == 0 or size == 0 then return false end
    return math.max(size - to, 0), size - 1
  end
  if to and to < from then return nil end
  if from >= size then return false end
  return from, math.min(to or size - 1, size - 1)
end

-- Sends the file's bytes from first to last; the stream owns the descriptor.
local function sendBytes(res, fd, first, last)
  local file = fs.createReadStream(nil, { fd = fd, start = first, finish = last })
  file:on("end", function()
    -- The file has become shorter: the client must not take what comes next for the rest.
    if file.bytesRead < last - first + 1 then res:destroy() end
  end)
  stream.pipeline(file, res, function(err)
    if err and not res.destroyed then res:destroy() end
  end)
end

-- Returns true when the descriptor was handed on.
local function sendFile(req, res, fd, stats, name)
  local tag = ('"%x-%x-%x"'):format(stats.ino, stats.size, stats.mtimeMs * 1000)
  res:setHeader("ETag", tag)
  res:setHeader("Last-Modified", httpDate(stats.mtimeMs))
  res:setHeader("Accept-Ranges", "bytes")
  if notModified(req.headers, tag, stats) then return answer(res, 304) end
  local first, last
  if req.method == "GET" then first, last = requestedRange(req.headers, tag, stats) end
  if first == false then
    return answer(res, 416, "Range Not Satisfiable\n", { ["Content-Range"] = ("bytes */%d"):format(stats.size) })
  end
  res:setHeader("Content-Type", TYPES[path.extname(name):sub(2):lower()] or "application/octet-stream")
  res:setHeader("X-Content-Type-Options", "nosniff")
  if first then
    res.statusCode = 206
    res:setHeader("Content-Range", ("bytes %d-%d/%d"):format(first, last, stats.size))
  else
    first, last = 0, stats.size - 1
  end
  res:setHeader("Content-Length", last - first + 1)
  if req.method == "HEAD" or last < first or res.destroyed then
    res:finish()
    return false
  end
  sendBytes(res, fd, first, last)
  return true
end

-- Answers with an open file, or with the status that stands in `stats` when there is none.
local function respond(req, res, fd, stats, name)
  if fd and not stats:isFile() then
    fs.closeSync(fd)
    fd, stats = nil, 404
  end
  if not fd then return answer(res, stats, http.STATUS_CODES[stats] .. "\n") end
  local ok, handedOn = pcall(sendFile, req, res, fd, stats, name)
  if not ok or not handedOn then fs.closeSync(fd) end
  if not ok then error(handedOn, 0) end
end

local function serve(req, res, name)
  local fd, stats = open(name)
  if not fd or stats:isFile() and name:sub(-1) ~= "/" then return respond(req, res, fd, stats, name) end
  if not stats:isDirectory() then
    fs.closeSync(fd)
    return respond(req, res, nil, 404)
  end
  if name:sub(-1) ~= "/" then
    fs.closeSync(fd)
    return answer(res, 301, nil, { Location = encodePath(name) .. "/" })
  end
  local index, indexStats = open(name .. "index.html")
  if not index and indexStats == 404 then return listing(res, req.method, fd, name) end
  fs.closeSync(fd)
  respond(req, res, index, indexStats, "index.html")
end

local server = http.createServer(function(req, res)
  if req.method ~= "GET" and req.method ~= "HEAD" then
    return answer(res, 405, "Method Not Allowed\n", { Allow = "GET, HEAD" })
  end
  local name = requestedPath(req.url)
  if not name then return answer(res, 400, "Bad Request\n") end
  if name:find("/%.") and not name:find("^/%.well%-known/[^.]") then return answer(res, 404, "Not Found\n") end
  serve(req, res, name)
end)

server:listen(PORT, function()
  print(("Serving %s on http://localhost:%d"):format(ROOT, server:address().port))
end)
