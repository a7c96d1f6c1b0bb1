--- `web`: the page's server, a process of its own. Shows what the feed has; changes something only with --control. In: requests that passed
--- the guard. Out: the page, JSON, streams of events (server-sent), Prometheus' text.
local uv = require("luv")
local await = require("await")
local feed = require("lrun.manager.web.feed")
local guard = require("lrun.manager.web.guard")
local http = require("http")
local json = require("json")
local wire = require("lrun.manager.wire")

local web = {}

local MAX_STREAMS = 64
local MAX_QUEUED = 1024 * 1024  -- bytes that wait for a reader, who then loses samples
local VERBS = { start = true, stop = true, restart = true, reload = true, reset = true, flush = true, delete = true, scale = true }

-- What the page may do: its own style and script, and to ask where it came from.
local POLICY = "default-src 'none'; style-src 'nonce-%s'; script-src 'nonce-%s'; connect-src 'self'; img-src data:; "
  .. "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

local function encode(value)
  local ok, text = pcall(json.encode, value)
  return ok and text or json.encode(wire.clean(value))
end

local function answer(res, status, kind, body, more)
  res:writeHead(status, {
    ["Content-Type"] = kind, ["Content-Length"] = #body, ["Cache-Control"] = "no-store", ["X-Content-Type-Options"] = "nosniff",
    ["Referrer-Policy"] = "no-referrer", ["X-Frame-Options"] = "DENY", ["Content-Security-Policy"] = more,
  })
  res:finish(body)
end

local function answerJson(res, status, value) answer(res, status, "application/json; charset=utf-8", encode(value)) end

local function fail(res, status, code, message) answerJson(res, status, { error = { code = code, message = message } }) end

local function decode(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function parse(url)
  local path, query = url:match("^([^?]*)%??(.*)$")
  local values = {}
  for name, value in query:gmatch("([^&=]+)=?([^&]*)") do values[decode(name)] = decode(value) end
  return path, values
end

-- Streams -------------------------------------------------------------------------------------------------------------

local function openStream(self, res)
  if self.count >= MAX_STREAMS then
    fail(res, 503, "busy", ("more than %d readers"):format(MAX_STREAMS))
    return nil
  end
  self.count = self.count + 1
  res:writeHead(200, { ["Content-Type"] = "text/event-stream; charset=utf-8", ["Cache-Control"] = "no-store", ["X-Accel-Buffering"] = "no" })
  local stream = {}
  function stream.send(name, value)
    if stream.closed or res.writableLength > MAX_QUEUED then return end
    res:write(("event: %s\ndata: %s\n\n"):format(name, encode(value)))
  end
  res:on("close", function()
    if stream.closed then return end
    stream.closed = true
    self.count = self.count - 1
    self.streams[stream] = nil
    if stream.onClose then stream.onClose() end
  end)
  res:on("error", function() end)
  return stream
end

local function broadcast(self, name, value)
  for stream in pairs(self.streams) do stream.send(name, value) end
end

-- Paths ---------------------------------------------------------------------------------------------------------------

local paths = {}

paths["/"] = function(self, _, res)
  local nonce = uv.random(12):gsub(".", function(c) return ("%02x"):format(c:byte()) end)
  local body = require("lrun.manager.web.page").html(nonce, self.control)
  answer(res, 200, "text/html; charset=utf-8", body,
    POLICY:format(nonce, nonce))
end

paths["/api/list"] = function(self, _, res)
  local ok, rows = pcall(feed.call, self.feed, "list", {})
  if not ok then
    local show = require("lrun.manager.cli.show")
    rows = show.rows((show.fromFiles(self.run.home)))
  end
  answerJson(res, 200, wire.list(rows))
end

paths["/api/history"] = function(self, _, res)
  local model = self.feed.model
  local histories = wire.list()
  for id, samples in pairs(model.history) do histories[#histories + 1] = { id = id, samples = wire.list(samples) } end
  answerJson(res, 200, { histories = histories, marks = wire.list(model.marks), apps = wire.list(model.apps) })
end

paths["/api/events"] = function(self, _, res)
  local stream = openStream(self, res)
  if not stream then return end
  self.streams[stream] = true
  stream.send("sample", { time = os.time() * 1000, apps = wire.list(self.feed.model.apps) })
end

paths["/api/logs"] = function(self, query, res)
  local target = query.target
  if not target then return fail(res, 400, "usage", "target is missing") end
  local ok, documents = pcall(feed.call, self.feed, "show", { targets = { target } })
  if not ok then return fail(res, documents.exit == 3 and 404 or 503, documents.code, documents.message) end
  local stream = openStream(self, res)
  if not stream then return end
  stream.onClose = require("lrun.manager.web.logs").follow(documents, function(entry) stream.send("line", entry) end)
end

paths["/metrics"] = function(self, _, res)
  local ok, rows = pcall(feed.call, self.feed, "list", {})
  answer(res, 200, "text/plain; version=0.0.4; charset=utf-8", require("lrun.manager.web.metrics").text(ok and rows or self.feed.model.apps))
end

local function change(self, verb, query, res)
  if not self.control then return fail(res, 403, "forbidden", "this page changes nothing: start it with lrun web --control") end
  if not VERBS[verb] then return fail(res, 404, "unknown", ("no verb '%s'"):format(verb)) end
  if not query.target then return fail(res, 400, "usage", "target is missing") end
  local args = verb == "scale" and { target = query.target, count = query.count or "" } or { targets = { query.target } }
  local ok, result = pcall(feed.call, self.feed, verb, args)
  feed.refresh(self.feed)
  if ok then return answerJson(res, 200, result) end
  if type(result) ~= "table" then result = { message = tostring(result) } end
  fail(res, result.exit == 3 and 404 or result.exit == 2 and 400 or 500, result.code or "failed", result.message)
end

local function handle(self, req, res)
  local path, query = parse(req.url)
  local status, reason = guard.refusal(
    { host = req.headers.host, origin = req.headers.origin, authorization = req.headers.authorization, token = query.token },
    { token = self.token, host = self.host })
  if status then return fail(res, status, "refused", reason) end
  local verb = path:match("^/api/([%a]+)$")
  if req.method == "POST" and verb then return change(self, verb, query, res) end
  if req.method ~= "GET" and req.method ~= "HEAD" then return fail(res, 405, "method", "GET, or POST /api/VERB") end
  local serve = paths[path]
  if not serve then return fail(res, 404, "unknown", "no such path") end
  serve(self, query, res)
end

-- The verb ------------------------------------------------------------------------------------------------------------

local function usage(text, ...) error({ usage = text:format(...) }, 0) end

--- Serves until it is ended.
function web.web(run)
  local options = run.options
  if #options.words > 0 then usage("web takes no words; see lrun web --help") end
  local port = tonumber(options.port or 8090)
  if not port or port % 1 ~= 0 or port < 0 or port > 65535 then usage("web: --port '%s' is no port", options.port) end
  local self = {
    run = run, control = options.control == true, host = options.host or "127.0.0.1", streams = {}, count = 0,
    token = (uv.random(24):gsub(".", function(c) return ("%02x"):format(c:byte()) end)),
  }
  self.feed = feed.start{
    run = run, onSample = function(sample) broadcast(self, "sample", { time = sample.time, apps = wire.list(sample.apps) }) end,
    onEvent = function(event) broadcast(self, "event", event) end,
  }
  local server = http.createServer(function(req, res)
    req:resume()
    await.spawn(handle, self, req, res)
  end)
  await(function(done)
    server:on("error", function(err)
      io.stderr:write(("lrun: web: %s\n"):format(tostring(err)))
      process.exit(1)
    end)
    server:listen(port, self.host, function()
      local bound = server:address().port
      local shown = self.host:find(":", 1, true) and ("[%s]"):format(self.host) or self.host
      local address = ("http://%s:%d/?token=%s"):format(shown, bound, self.token)
      if options.json then io.stdout:write(encode{ address = address, port = bound, token = self.token }, "\n")
      else io.stdout:write(address, "\n") end
      io.stdout:flush()
    end)
    process:on("SIGTERM", function() process.exit(0) end)
    process:on("SIGINT", function() process.exit(0) end)
    self.done = done
  end)
end

return web
