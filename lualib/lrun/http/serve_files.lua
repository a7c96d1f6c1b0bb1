--- `http.serveFiles`: the files below a folder, as a handler of requests. What a path means is found by C (runtime/http/lookup.c);
--- what has no file is decided here: redirects, listings, the fallback, the next handler.
local core = require("lrun.core.http")
local errors = require("errors")
local listing = require("lrun.http.listing")
local sendFile = require("lrun.http.send_file")
local validate = require("lrun.check.validate")

local found = core.found

---@class ServeFilesOptions: SendFileOptions
---@field index (string|string[]|false)? names of a folder's page; { "index.html" }
---@field listing boolean? a folder without a page is listed; false
---@field extensions (string[]|false)? endings that a path may leave out; { "html" }
---@field fallback string? a file below the root for what is not found, where the client takes a page

-- Options ---------------------------------------------------------------------------------------------------------------

local function checkNames(options, name, default)
  local value = options[name]
  if value == nil then return default end
  if value == false then return {} end
  if type(value) == "string" then value = { value } end
  if type(value) ~= "table" then error(errors.argType("options." .. name, "string, table or false", value), 0) end
  local list = {}
  for i, each in ipairs(value) do
    local label = ("options.%s[%d]"):format(name, i)
    if type(each) ~= "string" then error(errors.argType(label, "string", each), 0) end
    if each == "" or #each > 255 or each:find("[%z/]") then error(errors.argValue(label, each, "must be a name"), 0) end
    list[i] = name == "extensions" and each:gsub("^%.", "") or each
  end
  return list
end

local function checkFallback(options)
  local fallback = options.fallback
  if fallback == nil or fallback == false then return nil end
  validate.string(fallback, "options.fallback")
  if fallback == "" or fallback:find("%z") then error(errors.argValue("options.fallback", fallback, "must name a file below the root"), 0) end
  return fallback
end

local function checkListing(options)
  return validate.optional(validate.boolean, options.listing, "options.listing") or false
end

local function settingsOf(root, options)
  validate.string(root, "root")
  validate.optional(validate.table, options, "options")
  local own = { root = root }
  for key, value in pairs(options or {}) do
    if key ~= "root" then own[key] = value end
  end
  local settings = sendFile.settings(own)
  settings.pages = true
  settings.index, settings.extensions = checkNames(own, "index", { "index.html" }), checkNames(own, "extensions", { "html" })
  settings.listing = checkListing(own)
  return settings, checkFallback(own), sendFile.headers(own)
end

-- What is no file ---------------------------------------------------------------------------------------------------------

-- The folder's path with its slash, as a URL on this host. A program that has taken a prefix off `req.url` keeps it.
local function folderUrl(send, place)
  local target = send.req:_target()
  local query = target:match("%?[^#]*") or ""
  if not send.url then return "/" .. listing.encode(place) .. "/" .. query end
  local path = target:gsub("^%a[%w+.-]*://[^/?#]*", ""):match("^[^?#]*")
  return "/" .. path:gsub("^[/\\]+", ""):gsub("/*$", "") .. "/" .. query
end

local function redirect(send, place)
  local res = send.res
  res.statusCode = 301
  res:setHeader("Location", folderUrl(send, place))
  res:setHeader("Content-Type", "text/plain; charset=utf-8")
  res:finish("Moved Permanently\n")
end

local function list(send, place)
  core.fileList(send.job, function(job)
    local _, number = core.fileFacts(job)
    local res = send.res
    if res.destroyed or res.headersSent then return core.fileClose(job) end
    if number ~= 0 then return sendFile.lost(send) end
    local names, areFolders, isCut = core.fileNames(job)
    core.fileClose(job)
    local page = listing.page(place == "." and "/" or "/" .. place .. "/", names, areFolders, isCut)
    res:setHeader("Content-Type", "text/html; charset=utf-8")
    res:setHeader("X-Content-Type-Options", "nosniff")
    if send.req.method == "HEAD" then res:setHeader("Content-Length", #page) end
    res:finish(page)
  end)
end

local function nothing(send)
  core.fileClose(send.job)
  if send.next then return send.next() end
  sendFile.refuse(send.res, 404)
end

local function fallBack(send, self)
  local page = select(7, core.fileFacts(send.job))
  if not self.fallback or not page then return nothing(send) end
  core.fileClose(send.job)
  sendFile.look(send, self.fallbackSite, self.fallback, function()
    if core.fileFacts(send.job) ~= found.file then return nothing(send) end
    sendFile.answer(send)
  end)
end

local function decide(send, self)
  local kind, _, place = core.fileFacts(send.job)
  if kind == found.file then return sendFile.answer(send) end
  if kind == found.nothing then return fallBack(send, self) end
  if kind == found.listing then return list(send, place) end
  if kind ~= found.folder then return sendFile.lost(send) end
  core.fileClose(send.job)
  redirect(send, place)
end

-- What one call of C's does not answer.
local function look(self, req, res, following, url)
  local method = req.method
  if method ~= "GET" and method ~= "HEAD" then
    if following then return following() end
    return sendFile.refuse(res, 405, { Allow = "GET, HEAD" })
  end
  local send = { res = res, req = req, url = url, site = self.settings, headers = self.headers, next = following }
  sendFile.look(send, self.site, nil, function() decide(send, self) end, url)
end

-- Every request comes through here. No closure is made of its variables: the compiler would leave the function alone.
local function serve(self, req, res, following)
  local url = rawget(req, "url")                            -- the program's own, in the place of the request's
  if not url and self.headers == nil and res:_tryFile(self.site, nil) then return end
  return look(self, req, res, following, url)
end

--- Makes a handler that answers with the files below a folder.
---@param root string
---@param options ServeFilesOptions?
---@return fun(req: IncomingMessage, res: ServerResponse, next: function?) handler
return function(root, options)
  local settings, fallback, headers = settingsOf(root, options)
  local self = { site = core.site(settings), settings = settings, fallback = fallback, headers = headers }
  if fallback then
    local own = {}
    for _, name in ipairs(sendFile.names) do own[name] = settings[name] end
    self.fallbackSite = core.site(own)
  end
  return function(req, res, following)
    validate.optional(validate.func, following, "next")
    return serve(self, req, res, following)
  end
end
