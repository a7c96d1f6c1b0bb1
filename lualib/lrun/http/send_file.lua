--- Answers with files: the options of `res:sendFile`, and what is decided between C's steps (runtime/http/files.c): most
--- requests take one call of C's there, others are a job that is looked for, judged, opened and sent.
local core = require("lrun.core.http")
local errors = require("errors")
local outgoing = require("lrun.http.outgoing")
local path = require("path")
local process = require("process")
local timers = require("timers")
local validate = require("lrun.check.validate")
local describe = require("lrun.core.errno").describe

local nextTick = process.nextTick
local found = core.found

local sendFile = {}

---@class SendFileOptions
---@field root string? a directory that nothing outside of is reached; paths are relative to it
---@field links boolean? symbolic links may lead out of the root; false
---@field dotfiles ("ignore"|"deny"|"allow")? names that begin with a dot are 404, 403 or files; "ignore"
---@field type string? the media type, or an ending such as "html"; by the file's name
---@field etag boolean? true
---@field lastModified boolean? true
---@field acceptRanges boolean? ranges are answered; true
---@field cacheControl boolean? Cache-Control is sent, where none was set; true
---@field maxAge number? ms for which clients keep the file; 0
---@field immutable boolean? the file never changes within that time; false
---@field headers (table<string, string|number|string[]>|fun(path: string, stats: Stats): table?)? set on a successful answer
---@field precompressed boolean? `file.br` or `file.gz` beside the file is sent to clients that take it; true

-- Options ---------------------------------------------------------------------------------------------------------------

local DOTFILES = { ignore = 0, deny = 1, allow = 2 }
local HELD = 100           -- ms that a root stays open: then it is looked for again
local MOST_SITES = 256

-- A flag that is true unless it says false, or the reverse.
local function flag(options, name, default)
  local value = options[name]
  if value == nil then return default end
  if type(value) ~= "boolean" then error(errors.argType("options." .. name, "boolean", value), 0) end
  return value
end

local function text(options, name)
  local value = options[name]
  if value == nil then return nil end
  if type(value) ~= "string" then error(errors.argType("options." .. name, "string", value), 0) end
  if value == "" or value:find("%z") then
    error(errors.argValue("options." .. name, value, "must be a string without NUL, and not empty"), 0)
  end
  return value
end

local function checkType(options)
  local kind = text(options, "type")
  if not kind or kind:find("/", 1, true) then return kind and core.isText(kind) and kind or nil end
  return core.typeOfEnding(kind)
    or error(errors.argValue("options.type", kind, 'must be a media type such as "text/html", or a known ending such as "html"'), 0)
end

local function checkDotfiles(options)
  local value = options.dotfiles
  if value == nil then return DOTFILES.ignore end
  return DOTFILES[value] or error(errors.argValue("options.dotfiles", value, "must be 'ignore', 'deny' or 'allow'"), 0)
end

local function checkHeaders(options)
  local headers = options.headers
  if headers ~= nil and type(headers) ~= "table" and type(headers) ~= "function" then
    error(errors.argType("options.headers", "table or function", headers), 0)
  end
  return headers
end

local function cacheControl(options)
  local maxAge, immutable = options.maxAge, flag(options, "immutable", false)
  validate.optional(validate.number, maxAge, "options.maxAge", 0)
  if not flag(options, "cacheControl", true) then return nil end
  local seconds = math.min(math.floor((maxAge or 0) / 1000), 31536000000)
  return ("public, max-age=%.0f%s"):format(seconds, immutable and ", immutable" or "")
end

--- The options as a site of C's takes them.
---@param options SendFileOptions
---@return table
function sendFile.settings(options)
  local root = text(options, "root")
  return {
    root = root and path.resolve(root), links = flag(options, "links", false), dotfiles = checkDotfiles(options), type = checkType(options),
    etag = flag(options, "etag", true), lastModified = flag(options, "lastModified", true), acceptRanges = flag(options, "acceptRanges", true),
    cacheControl = cacheControl(options), precompressed = flag(options, "precompressed", true),
  }
end

local NAMES = { "root", "links", "dotfiles", "type", "etag", "lastModified", "acceptRanges", "cacheControl", "precompressed" }

-- Sites by what their options say. Emptied before they can grow without end.
local sites, siteCount = {}, 0
local default = core.site(sendFile.settings{})

local function siteOf(settings)
  local words = {}
  for i, name in ipairs(NAMES) do words[i] = tostring(settings[name]) end
  local key = table.concat(words, "\0")
  local site = sites[key]
  if site then return site end
  if siteCount >= MOST_SITES then sites, siteCount = {}, 0 end
  site = core.site(settings)
  sites[key], siteCount = site, siteCount + 1
  return site
end

--- The root was opened for a request: it is closed in a while.
---@param site userdata
function sendFile.hold(site) timers.setTimeout(core.siteClose, HELD, site):unref() end

-- Failures ----------------------------------------------------------------------------------------------------------------

local STATUS = { [found.nothing] = 404, [found.denied] = 403, [found.bad] = 400, [found.failed] = 500, [found.folder] = 404, [found.listing] = 404 }

local function failure(status, code, message) return errors.coded(code, message, { statusCode = status, status = status }) end

-- Why nothing was found. The path is not in the message: it may go to the client.
local function lost(kind, number)
  local status = STATUS[kind]
  if kind == found.bad then return failure(400, "ERR_INVALID_PATH", "The path has a NUL or a malformed escape") end
  local code, reason, errno = describe(number)
  local err = failure(status, code, ("%s: %s, sendFile"):format(code, reason))
  err.errno, err.syscall = errno, "sendFile"
  return err
end

local JUDGED = {
  [412] = { "ERR_HTTP_PRECONDITION_FAILED", "The file is not the one that the request's conditions name" },
  [416] = { "ERR_HTTP_RANGE_NOT_SATISFIABLE", "The file has none of the ranges that the request names" },
}

local ABOUT_FILE = { "Content-Type", "Content-Length", "Content-Encoding", "Content-Range", "ETag", "Last-Modified", "Cache-Control" }

--- Answers with a status and a short text.
---@param res ServerResponse
---@param status integer
---@param headers table<string, string>?
function sendFile.refuse(res, status, headers)
  for _, name in ipairs(ABOUT_FILE) do outgoing.replaceHeader(res, name, nil) end
  res.statusCode = status
  res:setHeader("Content-Type", "text/plain; charset=utf-8")
  res:setHeader("X-Content-Type-Options", "nosniff")
  for name, value in pairs(headers or {}) do res:setHeader(name, value) end
  res:finish(core.statusText(status) .. "\n")
end

-- Ends a sending that failed: the callback's affair, or else answered; never after the head was sent.
local function fail(send, err, headers)
  if send.job then core.fileClose(send.job) end
  if send.callback then return nextTick(send.callback, err) end
  local res = send.res
  if res.destroyed or res.writableEnded then return end
  if res.headersSent then return res:destroy() end
  sendFile.refuse(res, err.statusCode, headers)
end

local function alreadySent() return errors.coded("ERR_HTTP_HEADERS_SENT", "Cannot send a file after the headers are sent to the client") end

-- The steps -----------------------------------------------------------------------------------------------------------------

local function headerOf(res, name)
  local value = res:getHeader(name)
  if type(value) == "table" then value = table.concat(value, ", ") end
  return value ~= nil and tostring(value) or nil
end

-- What the program has set itself.
local function presets(res)
  return headerOf(res, "etag"), headerOf(res, "last-modified"), headerOf(res, "content-type"), res:hasHeader("cache-control"), res:hasHeader("vary")
end

local function canAnswer(send)
  local res = send.res
  if res.destroyed then
    fail(send, errors.coded("ECONNRESET", "aborted"))
  elseif res.headersSent then
    fail(send, alreadySent())
  else
    return true
  end
  return false
end

local function respond(send)
  if not canAnswer(send) then return end
  local _, number = core.fileFacts(send.job)
  if number ~= 0 then
    local kind = number == -13 and found.denied or number == -2 and found.nothing or found.failed
    return fail(send, lost(kind, number))
  end
  send.res:_sendJob(send.job, send.callback, presets(send.res))
end

-- Headers of a successful answer. False: the function that gives them has answered by itself, or destroyed the response.
local function setHeaders(send, place)
  local headers = send.headers
  if type(headers) == "function" then
    core.fileStats(send.job)
    headers = headers(send.site.root and path.join(send.site.root, place) or place, require("lrun.fs.stats").told())
    if not canAnswer(send) then return false end
  end
  if headers ~= nil then send.res:setHeaders(headers) end
  return true
end

local function rangeOf(send) return { ["Content-Range"] = ("bytes */%.0f"):format(select(5, core.fileFacts(send.job))) } end

--- Answers with the file that a job has found.
---@param send { res: ServerResponse, job: userdata, site: table, headers: any, callback: function? } `site`: `root`
function sendFile.answer(send)
  local res, job = send.res, send.job
  local _, _, place, varies = core.fileFacts(job)
  local status = core.fileJudge(job, presets(res))
  local judged = JUDGED[status]
  if judged then return fail(send, failure(status, judged[1], judged[2]), status == 416 and rangeOf(send) or nil) end
  if varies and res:hasHeader("vary") then
    res:setHeader("Vary", require("lrun.http.compression").mergeVary(headerOf(res, "vary")))
  end
  if send.headers ~= nil and not setHeaders(send, place) then return end
  local _, hasBody = core.fileJudge(job, presets(res))
  if not hasBody or core.fileOpen(job, function() respond(send) end) then respond(send) end
end

-- Looks for the file; `each(send)` goes on with the job.
---@param send table
---@param c userdata C's site
---@param name string? a path; nil: the request's
---@param each function
---@param url string? in the place of the request's target
function sendFile.look(send, c, name, each, url)
  local function go(job)
    if core.siteOpened(c) then sendFile.hold(c) end
    send.job = job
    if canAnswer(send) then each(send) end
  end
  local job = core.fileLookup(c, name or url, send.res.req:_rawHead(), go, not name)
  if job then go(job) end
end

local function onFound(send)
  local kind, number = core.fileFacts(send.job)
  if kind ~= found.file then return fail(send, lost(kind, number)) end
  sendFile.answer(send)
end

--- Why nothing was found, and what the client hears of it.
function sendFile.lost(send)
  local kind, number = core.fileFacts(send.job)
  fail(send, lost(kind, number))
end

local function checkPath(name, settings)
  validate.string(name, "path")
  if settings.root or name:sub(1, 1) == "/" then return end
  error(errors.argValue("path", name, 'must be absolute, or `options.root` must be given'), 0)
end

local NONE = {}

--- `res:sendFile`.
---@param res ServerResponse
---@param name string
---@param options SendFileOptions?
---@param callback fun(err: Error?)?
function sendFile.send(res, name, options, callback)
  if type(options) == "function" and callback == nil then options, callback = nil, options end
  validate.optional(validate.func, callback, "callback")
  validate.optional(validate.table, options, "options")
  local settings, site, headers = NONE, default, nil
  if options then
    settings, headers = sendFile.settings(options), checkHeaders(options)
    site = siteOf(settings)
  end
  checkPath(name, settings)
  if res.headersSent then error(alreadySent(), 0) end
  if headers == nil and res:_tryFile(site, name, callback) then return end
  sendFile.look({ res = res, site = settings, headers = headers, callback = callback }, site, name, onFound)
end

sendFile.headers, sendFile.names = checkHeaders, NAMES

return sendFile
