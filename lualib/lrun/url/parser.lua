--- URLs as records and back. A record holds what a URL is made of: `scheme`; `username`, `password`; `host` (nil: none,
--- which is not the empty one); `port` (nil: the scheme's own); `path`, a list of segments, or a string where the path is
--- opaque (`mailto:x`); `query` and `fragment` (nil: none). All texts are percent-encoded already.
---
--- A text that is in its normal form is cut by C (runtime/encoding/url.c). Any other one is cut at its `#` and `?` first:
--- neither can stand in what comes before them. Then scheme, authority and path are taken from its front.
--- Source: WHATWG's URL standard, "URL parsing"; the setters follow its "API" section.
local encoding = require("lrun.core.encoding")
local hosts = require("lrun.url.host")

local parser = {}

--- Schemes whose URLs have a host and whose backslashes are slashes, and their ports.
parser.special = { ftp = 21, file = false, http = 80, https = 443, ws = 80, wss = 443 }
local special = parser.special

local function isSpecial(url) return special[url.scheme] ~= nil end

-- The punctuation that each part keeps; letters and digits always stay.
local KEPT = {
  userinfo = encoding.set("!$%&'()*+,-._~"),
  path = encoding.set("!$%&'()*+,-./:;=@[\\]^_|~"),
  query = encoding.set("!$%&'()*+,-./:;=?@[\\]^_`{|}~"),
  specialQuery = encoding.set("!$%&()*+,-./:;=?@[\\]^_`{|}~"),
  fragment = encoding.set("!#$%&'()*+,-./:;=?@[\\]^_{|}~"),
  opaque = encoding.set(" !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
}

local plainParts, plainPlace = encoding.url(KEPT.userinfo, KEPT.path, KEPT.specialQuery, KEPT.fragment)

local function encode(text, kind) return encoding.percent(text, KEPT[kind]) end

local SLASH, BACKSLASH = ("/\\"):byte(1, 2)

-- Paths ---------------------------------------------------------------------------------------------------------------

local function isDriveLetter(text) return text:find("^%a[:|]$") ~= nil end
local function startsWithDriveLetter(text) return text:find("^%a[:|]$") ~= nil or text:find("^%a[:|][/\\?#]") ~= nil end

local function shorten(url)
  local path = url.path
  if url.scheme == "file" and #path == 1 and path[1]:find("^%a:$") then return end
  path[#path] = nil
end

local DOTS = { ["."] = 1, ["%2e"] = 1, [".."] = 2, [".%2e"] = 2, ["%2e."] = 2, ["%2e%2e"] = 2 }

-- Appends the segments of `text`, which follows the slash that was taken already.
local function addSegments(url, text)
  local slash = isSpecial(url) and "[/\\]" or "/"
  local path, at = url.path, 1
  repeat
    local stop = text:find(slash, at)
    local segment = text:sub(at, stop and stop - 1)
    local dots = #segment <= 6 and DOTS[segment:lower()]
    if dots == 2 then shorten(url) end
    if dots then
      if not stop then path[#path + 1] = "" end
    else
      if url.scheme == "file" and #path == 0 and isDriveLetter(segment) then segment = segment:sub(1, 1) .. ":" end
      path[#path + 1] = encode(segment, "path")
    end
    at = stop and stop + 1
  until not at
end

-- A path behind an authority, or an absolute one.
local function pathStart(url, text)
  local first = text:byte()
  if first == SLASH or first == BACKSLASH and isSpecial(url) then text = text:sub(2)
  elseif text == "" and not isSpecial(url) then return end
  addSegments(url, text)
end

-- Authorities ---------------------------------------------------------------------------------------------------------

local function setHost(url, text)
  local host, reason = hosts.parse(text, isSpecial(url))
  if host then url.host = host end
  return host ~= nil, reason
end

-- 0 to 65535; the scheme's own is none.
local function setPort(url, digits)
  local port = #digits < 16 and tonumber(digits) or 65536
  if port > 65535 then return false end
  url.port = port ~= special[url.scheme] and port or nil
  return true
end

-- Where the host ends: at a colon outside brackets.
local function splitPort(text)
  local from = text:find("]", 1, true) or 1
  if text:sub(1, 1) ~= "[" then from = 1 end
  local colon = text:find(":", from, true)
  if not colon then return text end
  return text:sub(1, colon - 1), text:sub(colon + 1)
end

local function setCredentials(url, text)
  local name, password = text:match("^([^:]*):(.*)$")
  url.username = encode(name or text, "userinfo")
  url.password = encode(password or "", "userinfo")
end

-- `user:password@host:port/path`
local function authority(url, text)
  local stop = text:find(isSpecial(url) and "[/\\]" or "/")
  local whole, rest = text:sub(1, stop and stop - 1), stop and text:sub(stop) or ""
  local credentials, place
  if whole:find("@", 1, true) then
    credentials, place = whole:match("^(.*)@(.*)$")
    if place == "" then return false end
    setCredentials(url, credentials)
  end
  local name, port = splitPort(place or whole)
  if name == "" and (port or isSpecial(url)) then return false end
  local ok, reason = setHost(url, name)
  if not ok then return false, reason end
  if port and port ~= "" and not (port:find("^%d+$") and setPort(url, port)) then return false end
  pathStart(url, rest)
  return true
end

-- Schemes and what is relative ----------------------------------------------------------------------------------------

local function copyPath(path)
  local copy = {}
  for i, segment in ipairs(path) do copy[i] = segment end
  return copy
end

local function inheritPlace(url, base)
  url.username, url.password, url.host, url.port = base.username, base.password, base.host, base.port
end

-- What is left of a relative reference whose place is the base's: its path, and its query where the text has neither.
local function relativePath(url, base, text, query)
  url.path = copyPath(base.path)
  if text ~= "" then
    if not (url.scheme == "file" and startsWithDriveLetter(text)) then shorten(url) else url.path = {} end
    addSegments(url, text)
  elseif not query then
    url.query = base.query
  end
  return true
end

-- Behind `file:`
local function file(url, base, text, query)
  url.host = ""
  if base and base.scheme ~= "file" then base = nil end
  if not text:find("^[/\\]") then
    if not base then
      addSegments(url, text)
      return true
    end
    url.host = base.host
    return relativePath(url, base, text, query)
  end
  local second = text:match("^[/\\][/\\](.*)$")
  if not second then
    if base then
      url.host = base.host
      local first = base.path[1]
      if first and first:find("^%a:$") and not startsWithDriveLetter(text:sub(2)) then url.path[1] = first end
    end
    pathStart(url, text)
    return true
  end
  local name = second:match("^[^/\\]*")
  if isDriveLetter(name) then
    addSegments(url, second)
    return true
  end
  if name ~= "" then
    local ok, reason = setHost(url, name)
    if not ok then return false, reason end
    if url.host == "localhost" then url.host = "" end
  end
  pathStart(url, second:sub(#name + 1))
  return true
end

local function relative(url, base, text, query)
  local slash = isSpecial(url) and "[/\\]" or "/"
  if not text:find("^" .. slash) then
    inheritPlace(url, base)
    return relativePath(url, base, text, query)
  end
  if text:find("^" .. slash .. slash) then
    return authority(url, (text:gsub(isSpecial(url) and "^[/\\]+" or "^//", "", 1)))
  end
  inheritPlace(url, base)
  pathStart(url, text)
  return true
end

-- Behind a scheme and its colon.
local function absolute(url, base, text, query)
  if url.scheme == "file" then return file(url, base, text, query) end
  if isSpecial(url) then
    if base and base.scheme == url.scheme and not text:find("^//") then return relative(url, base, text, query) end
    return authority(url, text:sub(text:find("[^/\\]") or #text + 1))
  end
  if text:find("^//") then return authority(url, text:sub(3)) end
  if text:find("^/") then
    pathStart(url, text)
    return true
  end
  url.path = encode(text, "opaque")
  return true
end

local function withoutScheme(url, base, text, query, fragment)
  if not base then return false end
  url.scheme = base.scheme
  if type(base.path) == "string" then
    if text ~= "" or query or not fragment then return false end
    url.path, url.query = base.path, base.query
    return true
  end
  if url.scheme == "file" then return file(url, base, text, query) end
  return relative(url, base, text, query)
end

local function setQuery(url, text) url.query = encode(text, isSpecial(url) and "specialQuery" or "query") end

local function withoutLineBreaks(text) return (text:gsub("[\t\n\r]", "")) end

-- What comes before the first `mark`, and what comes behind it: nil without one.
local function cut(text, mark)
  local at = text:find(mark, 1, true)
  if at then return text:sub(1, at - 1), text:sub(at + 1) end
  return text
end

-- Constants first: one copy of a table with room for all.
local function newRecord(scheme, username, password, host, port, path, query, fragment)
  local url = { scheme = "", username = "", password = "", host = "", port = 0, path = false, query = "", fragment = "" }
  url.scheme, url.username, url.password, url.host, url.port = scheme, username, password, host, port
  url.path, url.query, url.fragment = path, query, fragment
  return url
end

-- Of a text in which there is nothing to do but to cut it: the most that come. Nil: it is another one.
local function plain(input, base)
  local scheme, username, password, host, port, path, query, fragment = plainParts(input)
  if scheme then return newRecord(scheme, username, password, host, port, path, query, fragment) end
  if not base or not isSpecial(base) or base.scheme == "file" then return nil end
  path, query, fragment = plainPlace(input)
  return path and newRecord(base.scheme, base.username, base.password, base.host, base.port, path, query, fragment)
end

--- Reads a URL.
---@param input string
---@param base table? a record, for what is relative
---@return table? record nil when it is none
---@return string? reason where there is more to say
function parser.parse(input, base)
  local known = plain(input, base)
  if known then return known end
  local text = input
  if text:find("%c") or text:find(" ", 1, true) then
    text = withoutLineBreaks(text:gsub("^[%z\1-\32]+", ""):gsub("[%z\1-\32]+$", ""))
  end
  local url = { scheme = "", username = "", password = "", path = {} }
  local beforeFragment, fragment = cut(text, "#")
  local rest, query = cut(beforeFragment, "?")
  local scheme = rest:match("^(%a[%w+.-]*):")
  local ok, reason
  if scheme then
    url.scheme = scheme:lower()
    ok, reason = absolute(url, base, rest:sub(#scheme + 2), query)
  else
    ok, reason = withoutScheme(url, base, rest, query, fragment)
  end
  if not ok then return nil, reason end
  if query then setQuery(url, query) end
  if fragment then url.fragment = encode(fragment, "fragment") end
  return url
end

--- The path as text.
---@param url table
---@return string
function parser.pathname(url)
  if type(url.path) == "string" then return url.path end
  if #url.path == 0 then return "" end
  return "/" .. table.concat(url.path, "/")
end

--- Host and port as text; "" without a host.
---@param url table
---@return string
function parser.hostAndPort(url)
  if not url.host then return "" end
  return url.port and ("%s:%d"):format(url.host, url.port) or url.host
end

--- A record as text.
---@param url table
---@return string href
function parser.serialize(url)
  local text = { url.scheme, ":" }
  local function add(piece) text[#text + 1] = piece end
  if url.host then
    add("//")
    if url.username ~= "" or url.password ~= "" then
      add(url.username)
      if url.password ~= "" then add(":" .. url.password) end
      add("@")
    end
    add(parser.hostAndPort(url))
  elseif type(url.path) == "table" and #url.path > 1 and url.path[1] == "" then
    add("/.")                       -- or the path would be taken for a host
  end
  add(parser.pathname(url))
  if url.query then add("?" .. url.query) end
  if url.fragment then add("#" .. url.fragment) end
  return table.concat(text)
end

-- Setters -------------------------------------------------------------------------------------------------------------
-- Each changes a record as far as the new value goes; what cannot be changes nothing.

local set = {}
parser.set = set

local function hasNoPlace(url) return not url.host or url.host == "" or url.scheme == "file" end

function set.protocol(url, text)
  local scheme = withoutLineBreaks(text):match("^(%a[%w+.-]*)")
  local rest = scheme and withoutLineBreaks(text):sub(#scheme + 1)
  if not scheme or rest ~= "" and rest:sub(1, 1) ~= ":" then return end
  scheme = scheme:lower()
  if isSpecial(url) ~= (special[scheme] ~= nil) then return end
  if scheme == "file" and (url.username ~= "" or url.password ~= "" or url.port) then return end
  if url.scheme == "file" and url.host == "" then return end
  url.scheme = scheme
  if url.port == special[scheme] then url.port = nil end
end

function set.username(url, text) if not hasNoPlace(url) then url.username = encode(text, "userinfo") end end
function set.password(url, text) if not hasNoPlace(url) then url.password = encode(text, "userinfo") end end

-- The host in a text that may go on; nil when there is none to take.
local function takeHost(url, text)
  if type(url.path) == "string" then return nil end
  text = withoutLineBreaks(text):match(isSpecial(url) and "^[^/\\?#]*" or "^[^/?#]*")
  if url.scheme == "file" then return text end
  local name, port = splitPort(text)
  if name == "" and (isSpecial(url) or port or url.username ~= "" or url.password ~= "" or url.port) then return nil end
  return name, port
end

local function replaceHost(url, name)
  if name == "" and url.scheme == "file" then
    url.host = ""
    return true
  end
  if not setHost(url, name) then return false end
  if url.scheme == "file" and url.host == "localhost" then url.host = "" end
  return true
end

function set.hostname(url, text)
  local name, port = takeHost(url, text)
  if name and not port then replaceHost(url, name) end
end

function set.host(url, text)
  local name, port = takeHost(url, text)
  if not name or not replaceHost(url, name) then return end
  local digits = port and port:match("^%d+")
  if digits then setPort(url, digits) end
end

function set.port(url, text)
  if hasNoPlace(url) then return end
  if text == "" then
    url.port = nil
    return
  end
  local digits = withoutLineBreaks(text):match("^%d+")
  if digits then setPort(url, digits) end
end

function set.pathname(url, text)
  if type(url.path) == "string" then return end
  url.path = {}
  text = withoutLineBreaks(text)
  if isSpecial(url) or text ~= "" then pathStart(url, text)
  elseif not url.host then url.path[1] = "" end
end

function set.search(url, text)
  if text == "" then
    url.query = nil
  else
    setQuery(url, withoutLineBreaks((text:gsub("^%?", "", 1))))
  end
end

function set.hash(url, text)
  if text == "" then
    url.fragment = nil
  else
    url.fragment = encode(withoutLineBreaks((text:gsub("^#", "", 1))), "fragment")
  end
end

return parser
