--- One fetch under way: a request, its redirects, and the limits that hold until the body was read: the time and the signal.
---
--- `job`: what was asked (lrun.fetch.options), and `request`, `message` (the current ones), `fail` (ends it with an error,
--- wherever it stands), `done` (called once with the error or the response).
local aborting = require("lrun.check.aborting")
local errors = require("errors")
local http = require("http")
local options = require("lrun.fetch.options")
local process = require("process")
local Response = require("lrun.fetch.response")
local timers = require("timers")

local job = {}

local MOST_REDIRECTS = 20
local SMALL = 64 * 1024             -- the body of a redirect that is read so that the connection can be used again

local REDIRECTS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }
local BODY_HEADERS = { "content-type", "content-length", "content-encoding", "content-language", "content-location", "transfer-encoding" }
local CREDENTIALS = { "authorization", "cookie", "proxy-authorization", "host" }
local OF_A_HOST = { servername = true, cert = true, key = true, certFile = true, keyFile = true, pfx = true, passphrase = true, secureContext = true }

-- Connections for all calls ------------------------------------------------------------------------------------------------

local agents = {}                   -- protocol → agent

local function agentFor(self)
  local own = self.given.agent
  if own and (own.protocol == nil or own.protocol == self.url.protocol) then return own end
  local protocol = self.url.protocol
  if not agents[protocol] then
    agents[protocol] = (protocol == "https:" and require("https") or http).Agent:new{ keepAlive = true }
  end
  return agents[protocol]
end

-- A request -----------------------------------------------------------------------------------------------------------------

local function requestOptions(self)
  local all = { method = self.method, agent = agentFor(self), auth = self.auth, headers = {} }
  for _, name in ipairs(options.CONNECTION) do all[name] = self.given[name] end
  if self.url.protocol == "https:" then
    for _, name in ipairs(options.TLS) do
      if not (self.away and OF_A_HOST[name]) then all[name] = self.given[name] end
    end
  end
  for _, pair in pairs(self.headers) do all.headers[pair[1]] = pair[2] end
  if self.compress and not self.headers["accept-encoding"] then all.headers["Accept-Encoding"] = Response.ENCODINGS end
  return all
end

local function sendBody(self, request)
  local body = self.body
  if body == nil or type(body) == "string" then return request:finish(body) end
  body:on("error", function(err) self.fail(err) end)
  body:pipe(request)
end

local function send(self)
  local ok, request = pcall((self.url.protocol == "https:" and require("https") or http).request, self.url, requestOptions(self))
  if not ok then return self.fail(request) end
  self.request = request
  request:on("error", function(err) if self.request == request then self.fail(err) end end)
  request:on("response", function(message) if self.request == request then job.onResponse(self, message) end end)
  sendBody(self, request)
end

-- Redirects -------------------------------------------------------------------------------------------------------------------

local function dropHeaders(self, names)
  for _, name in ipairs(names) do self.headers[name] = nil end
end

local function origin(url) return url.protocol .. "//" .. url.host end

local function discard(message)
  message:on("error", function() end)
  if (tonumber(message.headers["content-length"]) or math.huge) <= SMALL then message:resume() else message:destroy() end
end

local function tooMany()
  return errors.coded("ERR_TOO_MANY_REDIRECTS", ("more than %d redirects"):format(MOST_REDIRECTS))
end

-- The next request, by the rules that browsers and Node follow; or the error.
local function redirected(self, message, location)
  self.redirects = self.redirects + 1
  if self.redirects > MOST_REDIRECTS then return tooMany() end
  local target, problem = options.url(location, self.url.href)
  if not target then return problem end
  local status = message.statusCode
  local asGet = status == 303 and self.method ~= "HEAD" or (status == 301 or status == 302) and self.method == "POST"
  if asGet then
    self.method, self.body = "GET", nil
    dropHeaders(self, BODY_HEADERS)
  elseif self.body ~= nil and type(self.body) ~= "string" then
    return errors.coded("ERR_BODY_NOT_REPEATABLE", ("redirect %d to %s: a stream as body cannot be sent again"):format(status, target.href))
  end
  if origin(target) ~= origin(self.url) then
    dropHeaders(self, CREDENTIALS)
    self.auth = nil
    if target.hostname ~= self.url.hostname then self.away = true end
  elseif target.username == "" and target.password == "" then
    target.username, target.password = self.url.username, self.url.password
  end
  self.url = target
end

function job.onResponse(self, message)
  local location = message.headers.location
  if not REDIRECTS[message.statusCode] or not location or self.redirect == "manual" then
    self.message, self.request = message, nil
    return self.done(nil, Response._make(self, message))
  end
  self.request = nil
  discard(message)
  if self.redirect == "error" then
    return self.fail(errors.coded("ERR_UNEXPECTED_REDIRECT", ('redirect %d to "%s", and options.redirect is "error"'):format(
      message.statusCode, location)))
  end
  local err = redirected(self, message, location)
  if err ~= nil then return self.fail(err) end
  send(self)
end

-- Its limits -------------------------------------------------------------------------------------------------------------------

-- Ends what is under way. Before the response it is the result; afterwards the body's error.
local function failing(self)
  return function(err)
    if self.over then return end
    self.release()
    self.failure = err
    local request, message = self.request, self.message
    self.request = nil
    if request then request:destroy() end
    if message then message:destroy(err) end
    self.done(err)
  end
end

local function limit(self)
  local timer, onAbort
  function self.release()
    self.over = true
    if timer then timers.clearTimeout(timer) end
    if onAbort then self.signal:off("abort", onAbort) end
    timer, onAbort = nil, nil
  end
  if self.timeout and self.timeout > 0 then
    timer = timers.setTimeout(function()
      self.fail(errors.coded("ETIMEDOUT", ("%s was not fetched within %g ms"):format(self.url.href, self.timeout)))
    end, self.timeout)
  end
  if not self.signal then return end
  function onAbort() self.fail(aborting.failure(self.signal)) end
  self.signal:once("abort", onAbort)
end

--- Runs a job: `callback(err, response)`.
---@param self table
---@param callback fun(err: any?, response: FetchResponse?)
function job.run(self, callback)
  local called = false
  function self.done(...)
    if called then return end
    called = true
    callback(...)
  end
  self.fail = failing(self)
  limit(self)
  if self.signal and self.signal.aborted then
    return process.nextTick(self.fail, aborting.failure(self.signal))
  end
  send(self)
end

return job
