--- What is compressed, and how: the choice by Accept-Encoding, the types that are worth it, the headers that change.
--- Plain values in and out; the coders are in lrun.http.coders.
local compression = {}

--- Bytes from which on a body is compressed.
compression.THRESHOLD = 1024

--- Where the client likes several equally: gzip is read by all, needs no library, and takes a quarter of a megabyte a stream.
compression.PREFERENCE = { "gzip", "br", "zstd", "deflate" }

-- Accept-Encoding -----------------------------------------------------------------------------------------------------

-- A weight; nil for what is none.
local function weight(text)
  if text == "" then return 1 end
  local number = text:lower():match("^;[ \t]*q=([01]%.?%d*)[ \t]*$")
  local q = number and #number <= 5 and tonumber(number)
  return q and q <= 1 and q or nil
end

--- The weights that an Accept-Encoding names, by coding in lower case. What is malformed counts for nothing.
---@param accept string
---@return table<string, number>
function compression.weights(accept)
  local weights = {}
  for element in accept:gmatch("[^,]+") do
    local name, rest = element:match("^[ \t]*([%w*!#$%%&'+.^_`|~-]+)[ \t]*(.-)[ \t]*$")
    local q = name and weight(rest)
    if q then
      name = name:lower()
      if name == "x-gzip" then name = "gzip" end
      weights[name] = math.max(weights[name] or 0, q)
    end
  end
  return weights
end

--- The coding for a client; nil for none: it wants none, or nothing that there is.
---@param accept string? the header; without one nothing is compressed
---@param isThere fun(coding: string): boolean whether there is a coder
---@return string? coding of PREFERENCE
function compression.choose(accept, isThere)
  if not accept then return nil end
  local weights = compression.weights(accept)
  local best, most = nil, 0
  for _, coding in ipairs(compression.PREFERENCE) do
    local q = weights[coding] or weights["*"] or 0
    if q > most and isThere(coding) then best, most = coding, q end
  end
  if best and (weights.identity or 0) > most then return nil end
  return best
end

-- Types ---------------------------------------------------------------------------------------------------------------

local TYPES = {
  ["application/javascript"] = true, ["application/json"] = true, ["application/xml"] = true, ["application/x-javascript"] = true,
  ["application/ecmascript"] = true, ["application/graphql"] = true, ["application/json5"] = true, ["application/jsonl"] = true,
  ["application/ndjson"] = true, ["application/x-ndjson"] = true, ["application/rtf"] = true, ["application/sql"] = true,
  ["application/toml"] = true, ["application/typescript"] = true, ["application/wasm"] = true, ["application/yaml"] = true,
  ["application/x-yaml"] = true, ["application/x-sh"] = true, ["application/x-tar"] = true, ["application/xml-dtd"] = true,
  ["application/x-www-form-urlencoded"] = true, ["application/vnd.ms-fontobject"] = true, ["font/otf"] = true, ["font/ttf"] = true,
  ["image/bmp"] = true, ["image/vnd.microsoft.icon"] = true, ["image/x-icon"] = true,
}

--- Whether bodies of a Content-Type become shorter.
---@param contentType string?
---@return boolean
function compression.isCompressible(contentType)
  local name = contentType and contentType:lower():match("^[ \t]*([^;, \t]+)")
  if not name then return false end
  return TYPES[name] or name:find("^text/.") ~= nil or name:find("./.*%+json$") ~= nil or name:find("./.*%+xml$") ~= nil
    or name:find("./.*%+text$") ~= nil
end

-- Headers -------------------------------------------------------------------------------------------------------------

-- Whether a list of tokens has one.
local function has(list, token)
  for each in list:lower():gmatch("[^, \t]+") do
    if each == token then return true end
  end
  return false
end

--- Vary with Accept-Encoding in it, once.
---@param vary string? what it said before
---@return string
function compression.mergeVary(vary)
  if not vary or not vary:find("[^, \t]") then return "Accept-Encoding" end
  if has(vary, "*") or has(vary, "accept-encoding") then return vary end
  return vary .. ", Accept-Encoding"
end

--- The validator of a coded variant: no longer the same bytes.
---@param etag string
---@return string
function compression.weaken(etag) return etag:find("^W/") and etag or "W/" .. etag end

-- The bytes are counted on, or somebody else has coded them. A digest is of the bytes as they are sent.
local FIXED = { "content-encoding", "content-range", "content-md5", "content-digest", "repr-digest", "digest" }

--- Whether a response may be compressed, its size aside.
---@param status integer
---@param get fun(name: string): string? its headers, by lower-case name
---@return boolean
function compression.isOpen(status, get)
  if status < 200 or status == 204 or status == 205 or status == 206 or status == 304 then return false end
  for _, name in ipairs(FIXED) do
    if get(name) then return false end
  end
  local transfer = get("transfer-encoding")
  if transfer and transfer:lower() ~= "chunked" then return false end
  local control = get("cache-control")
  return not (control and has(control, "no-transform")) and compression.isCompressible(get("content-type"))
end

return compression
