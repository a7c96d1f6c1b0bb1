--- URLs: read, compared, changed, put together. Source: WHATWG's URL standard, as Node 20's `url`.
--- A URL holds a record (lrun/url/parser.lua); its fields are read from there and written to it.
local calls = require("lrun.check.calls")
local encoding = require("lrun.core.encoding")
local errors = require("errors")
local parser = require("lrun.url.parser")
local path = require("path")
local searchParams = require("lrun.url.params")
local validate = require("lrun.check.validate")

---@class URL
---@field href string the whole
---@field origin string scheme, host and port; "null" for schemes that have none; cannot be assigned
---@field protocol string with its colon: "https:"
---@field username string percent-encoded, as every part
---@field password string
---@field host string name and port
---@field hostname string
---@field port string "" for the scheme's own
---@field pathname string
---@field search string with its `?`, or ""
---@field searchParams URLSearchParams the same, by name; changing it changes the URL; cannot be assigned
---@field hash string with its `#`, or ""
local URL = { name = "URL" }

local function marked(mark, text) return text and text ~= "" and mark .. text or "" end

local SPECIAL_ORIGIN = { http = true, https = true, ws = true, wss = true, ftp = true }

local function originOf(record)
  if SPECIAL_ORIGIN[record.scheme] then return ("%s://%s"):format(record.scheme, parser.hostAndPort(record)) end
  local inner = record.scheme == "blob" and parser.parse(parser.pathname(record))
  if inner and (inner.scheme == "http" or inner.scheme == "https") then return originOf(inner) end
  return "null"
end

local get = {
  href = parser.serialize,
  origin = originOf,
  protocol = function(record) return record.scheme .. ":" end,
  username = function(record) return record.username end,
  password = function(record) return record.password end,
  host = parser.hostAndPort,
  hostname = function(record) return record.host or "" end,
  port = function(record) return record.port and ("%d"):format(record.port) or "" end,
  pathname = parser.pathname,
  search = function(record) return marked("?", record.query) end,
  hash = function(record) return marked("#", record.fragment) end,
}

local function paramsOf(self)
  local params = self._params
  if not params then
    local record = self._record
    params, self._replace = searchParams.ofUrl(record.query or "", function(text)
      record.query = text ~= "" and text or nil
    end)
    self._params = params
  end
  return params
end

URL.__index = function(self, key)
  local getter = get[key]
  if getter then return getter(self._record) end
  if key == "searchParams" then return paramsOf(self) end
  return URL[key]
end

local function invalid(input, base, reason)
  local shown = #input > 200 and input:sub(1, 200) .. "…" or input
  return errors.coded("ERR_INVALID_URL", ("Invalid URL: '%s'%s"):format(shown, reason and ": " .. reason or ""),
    { input = input, base = base })
end

-- A URL, or what is text and stays text.
local function textOf(value, name)
  if getmetatable(value) == URL then return value.href end
  return validate.string(value, name)
end

local lastBase, lastBaseRecord      -- a server reads all its requests' URLs with one; nobody changes the record

-- The record, or nil and the error.
local function read(input, base)
  local baseRecord, reason
  if base ~= nil then
    if base ~= lastBase then
      baseRecord, reason = parser.parse(base)
      if not baseRecord then return nil, invalid(base, nil, reason or "it cannot be a base") end
      lastBase, lastBaseRecord = base, baseRecord
    end
    baseRecord = lastBaseRecord
  end
  local record
  record, reason = parser.parse(input, baseRecord)
  if record then return record end
  if not reason and not baseRecord and not input:find("^%s*%a[%w+.-]*:") then
    reason = "without a base it must begin with a scheme, such as http://"
  end
  return nil, invalid(input, base, reason)
end

-- What is assigned: fields of the standard change the record, others are the program's own.
URL.__newindex = function(self, key, value)
  local setter = parser.set[key]
  if setter then
    if type(value) ~= "string" and type(value) ~= "number" then
      error(errors.argType(key, "string", value), 0)
    end
    setter(self._record, tostring(value))
    if key == "search" and self._params then self._replace(self._record.query or "") end
  elseif key == "href" then
    local record, err = read(textOf(value, "href"))
    if not record then error(err, 0) end
    for name in pairs(self._record) do self._record[name] = nil end
    for name, part in pairs(record) do self._record[name] = part end
    if self._params then self._replace(record.query or "") end
  elseif get[key] or key == "searchParams" then
    error(errors.coded("ERR_INVALID_ARG_VALUE", ("The field '%s' of a URL cannot be assigned"):format(key)), 0)
  else
    rawset(self, key, value)
  end
end

URL.__tostring = function(self) return parser.serialize(self._record) end
URL.__eq = function(a, b) return rawequal(a, b) end

--- Reads a URL. Throws `ERR_INVALID_URL`, with `input` and `base`, for what is none.
---@param input string|URL absolute, or relative to `base`
---@param base string|URL?
---@return URL
function URL:new(input, base)
  if not rawequal(self, URL) then calls.needsColon("URL", "new") end
  input = textOf(input, "url")
  if base ~= nil then base = textOf(base, "base") end
  local record, err = read(input, base)
  if not record then error(err, 0) end
  return setmetatable({ _record = record, _params = false, _replace = false }, URL)
end

--- Whether `URL:new` would take it.
---@param input string|URL
---@param base string|URL?
---@return boolean
function URL.canParse(input, base)
  if rawequal(input, URL) then error(errors.coded("ERR_INVALID_ARG_TYPE", "call URL.canParse(...) with a dot"), 0) end
  input = textOf(input, "url")
  if base ~= nil then base = textOf(base, "base") end
  return read(input, base) ~= nil
end

--- The URL as text, as JSON has it.
---@return string
function URL:toString() return tostring(self) end

--- The same as `toString`.
---@return string
function URL:toJSON() return tostring(self) end

calls.methods(URL, "url", { new = true, canParse = true })

---@class url
---@field URL URL the class
---@field URLSearchParams URLSearchParams the class
local url = { URL = URL, URLSearchParams = searchParams.URLSearchParams }

--- The path of a `file:` URL. Source: Node 20. Throws `ERR_INVALID_URL_SCHEME`, `ERR_INVALID_FILE_URL_HOST`,
--- `ERR_INVALID_FILE_URL_PATH`.
---@param file string|URL
---@return string path absolute
function url.fileURLToPath(file)
  if getmetatable(file) ~= URL then file = URL:new(validate.string(file, "path")) end
  if file.protocol ~= "file:" then error(errors.coded("ERR_INVALID_URL_SCHEME", "The URL must be of scheme file"), 0) end
  if file.hostname ~= "" then
    error(errors.coded("ERR_INVALID_FILE_URL_HOST", 'File URL host must be "localhost" or empty on linux'), 0)
  end
  local name = file.pathname
  if name:lower():find("%%2f") then
    error(errors.coded("ERR_INVALID_FILE_URL_PATH", "File URL path must not include encoded / characters"), 0)
  end
  return encoding.fromPercent(name, false)
end

--- The `file:` URL of a path, which may be relative. Source: Node 20.
---@param name string
---@return URL
function url.pathToFileURL(name)
  local absolute = path.resolve(validate.string(name, "path"))
  if name:sub(-1) == "/" and absolute:sub(-1) ~= "/" then absolute = absolute .. "/" end
  absolute = absolute:gsub("%%", "%%25"):gsub("\\", "%%5C"):gsub("\n", "%%0A"):gsub("\r", "%%0D"):gsub("\t", "%%09")
  return URL:new("file://" .. absolute:gsub("%?", "%%3F"):gsub("#", "%%23"))
end

calls.functions(url, "url")

return url
