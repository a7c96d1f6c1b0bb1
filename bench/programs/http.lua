-- http.lua PORT: what a server does besides saying hello; the twin of http.js.
local await = require("await")
local http = require("http")
local json = require("json")

local page = ("0123456789abcdef"):rep(640)
local piece = ("0123456789abcdef"):rep(4096)
local PIECES = 1600 -- 100 MiB

local routes = {}

routes["/hello"] = function(_, res) res:finish("hello world\n") end

routes["/await"] = function(_, res)
  await(function(done) done() end)
  res:finish("hello world\n")
end

routes["/json"] = function(_, res)
  res:setHeader("Content-Type", "application/json")
  res:finish(json.encode { id = 42, name = "a name of some length", tags = { "one", "two", "three" }, ok = true })
end

routes["/page"] = function(_, res) res:finish(page) end

routes["/headers"] = function(req, res) res:finish(req.headers["x-header-99"]) end

routes["/post"] = function(req, res)
  local size = 0
  req:on("data", function(chunk) size = size + #chunk end)
  req:on("end", function() res:finish(tostring(size)) end)
end

routes["/stream"] = function(_, res)
  local sent = 0
  local function more()
    while sent < PIECES do
      sent = sent + 1
      if not res:write(piece) then return res:once("drain", more) end
    end
    res:finish()
  end
  more()
end

http.createServer(function(req, res) (routes[req.url] or routes["/hello"])(req, res) end)
  :listen(tonumber(process.argv[2]), "127.0.0.1")
