--- files-pipe.lua PORT FOLDER: a folder over HTTP as Node programs do it by hand: stat and pipe. The twin of files.js.
local fs = require("fs")
local http = require("http")
local path = require("path")

local port, folder = tonumber(process.argv[2]), process.argv[3]

local function date(ms) return os.date("!%a, %d %b %Y %H:%M:%S GMT", math.floor(ms / 1000)) end

http.createServer(function(req, res)
  local file = path.join(folder, req.url)
  fs.stat(file, function(err, stats)
    if err or not stats:isFile() then return res:writeHead(404):finish() end
    local headers = {
      ETag = ('"%x-%x-%x"'):format(stats.ino, stats.size, math.floor(stats.mtimeMs)), ["Last-Modified"] = date(stats.mtimeMs),
      ["Accept-Ranges"] = "bytes", ["Cache-Control"] = "public, max-age=0",
    }
    if req.headers["if-none-match"] then return res:writeHead(304, headers):finish() end
    local first, last = 0, stats.size - 1
    local from, to = (req.headers.range or ""):match("^bytes=(%d+)-(%d+)$")
    if from then
      first, last = tonumber(from), tonumber(to)
      headers["Content-Range"] = ("bytes %d-%d/%d"):format(first, last, stats.size)
    end
    headers["Content-Type"], headers["Content-Length"] = "application/octet-stream", last - first + 1
    res:writeHead(from and 206 or 200, headers)
    fs.createReadStream(file, { start = first, finish = last }):pipe(res)
  end)
end):listen(port, "127.0.0.1")
