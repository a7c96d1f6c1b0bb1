--- permessage-deflate (RFC 7692) in the handshake: its options, the header `Sec-WebSocket-Extensions`, what a server accepts
--- of an offer, what a client may be answered. What was agreed on is said in the terms of C: the window (8 to 15, 0: none)
--- of what comes and of what goes, and whether each goes on from message to message.
local errors = require("errors")
local validate = require("lrun.check.validate")

local NAME = "permessage-deflate"
local FULL = 15
local SMALL = 12                     -- bits of a window that goes on, where nobody said: 4 KiB a connection
local SMALL_MEMORY = 5               -- memLevel that goes with it

local extension = { NAME = NAME }

---@class PerMessageDeflateOptions
---@field threshold integer? bytes, 1024: shorter messages are not compressed where each stands for itself
---@field serverNoContextTakeover boolean? each message of the server's stands for itself
---@field clientNoContextTakeover boolean? the same for the client's
---@field serverMaxWindowBits integer? 8 to 15
---@field clientMaxWindowBits integer? 8 to 15
---@field level integer? of zlib, -1 to 9
---@field memLevel integer? of zlib, 1 to 9

---@class DeflateAgreement
---@field inflate integer window of what comes, 0 for none
---@field inflateGoesOn boolean
---@field deflate integer window of what goes, 0 for none
---@field deflateGoesOn boolean

--- Checks the option `perMessageDeflate`.
---@param given any
---@param default boolean
---@return PerMessageDeflateOptions|false
function extension.options(given, default)
  if given == nil then given = default end
  if given == false then return false end
  if given == true then return {} end
  if type(given) ~= "table" then error(errors.argType("options.perMessageDeflate", "boolean or table", given), 0) end
  local function name(field) return "options.perMessageDeflate." .. field end
  for _, field in ipairs{ "serverNoContextTakeover", "clientNoContextTakeover" } do
    validate.optional(validate.boolean, given[field], name(field))
  end
  for _, field in ipairs{ "serverMaxWindowBits", "clientMaxWindowBits" } do
    validate.optional(validate.integer, given[field], name(field), 8, FULL)
  end
  validate.optional(validate.integer, given.threshold, name("threshold"), 0)
  validate.optional(validate.integer, given.level, name("level"), -1, 9)
  validate.optional(validate.integer, given.memLevel, name("memLevel"), 1, 9)
  return given
end

--- What C's group has to know of them.
---@param options PerMessageDeflateOptions|false
---@param goesOn boolean whether a window of ours may go on: each takes memory then
---@return table
function extension.settings(options, goesOn)
  if not options then return { threshold = 0 } end
  return {
    threshold = options.threshold or 1024, level = options.level or -1, memLevel = options.memLevel or (goesOn and SMALL_MEMORY or 8),
  }
end

-- The header ----------------------------------------------------------------------------------------------------------

local TOKEN = "^[!#$%%&'*+%-.^_`|~%w]+"

-- One parameter at `at`: its name, its value or true, where it ends. Nothing for what is none.
local function parameter(text, at)
  local name = text:match(TOKEN, at)
  if not name then return nil end
  at = text:match("^[ \t]*()", at + #name)
  if text:sub(at, at) ~= "=" then return name, true, at end
  at = text:match("^[ \t]*()", at + 1)
  local value = text:match(TOKEN, at)
  if value then return name, value, at + #value end
  local quoted, after = text:match('^"([^"\\]*)"()', at)
  if not quoted or not quoted:find(TOKEN .. "$") then return nil end
  return name, quoted, after
end

-- One offer at `at`, and where it ends.
local function offer(text, at)
  local name = text:match(TOKEN, at)
  if not name then return nil end
  local found = { name = name, parameters = {} }
  at = text:match("^[ \t]*()", at + #name)
  while text:sub(at, at) == ";" do
    local key, value
    key, value, at = parameter(text, text:match("^[ \t]*()", at + 1))
    if not key then return nil end
    if found.parameters[key] ~= nil then found.twice = true end
    found.parameters[key] = value
    at = text:match("^[ \t]*()", at)
  end
  return found, at
end

--- The offers of a header, in order; nil for what is no list of extensions. Empty elements are passed over.
---@param text string
---@return { name: string, parameters: table<string, string|true>, twice: boolean? }[]?
function extension.parse(text)
  local list, at = {}, 1
  while true do
    at = text:match("^[ \t]*()", at)
    if text:sub(at, at) ~= "," and at <= #text then
      local found
      found, at = offer(text, at)
      if not found then return nil end
      list[#list + 1] = found
    end
    if at > #text then return list end
    if text:sub(at, at) ~= "," then return nil end
    at = at + 1
  end
end

local FLAGS = { server_no_context_takeover = true, client_no_context_takeover = true }
local WINDOWS = { server_max_window_bits = true, client_max_window_bits = true }

-- The parameters with their windows as numbers; nil where one is unknown, comes twice, or has a value that it may not have.
local function read(found, windowMayBeOpen)
  if found.twice then return nil end
  local parameters = {}
  for name, value in pairs(found.parameters) do
    if FLAGS[name] then
      if value ~= true then return nil end
      parameters[name] = true
    elseif WINDOWS[name] then
      local bits = value ~= true and value:find("^%d+$") and value:find("^[1-9]") and tonumber(value)
      if value == true then
        if not windowMayBeOpen or name ~= "client_max_window_bits" then return nil end
        parameters[name] = true
      elseif not bits or bits < 8 or bits > FULL then
        return nil
      else
        parameters[name] = bits
      end
    else
      return nil
    end
  end
  return parameters
end

local ORDER = { "server_no_context_takeover", "client_no_context_takeover", "server_max_window_bits", "client_max_window_bits" }

local function write(parameters)
  local parts = { NAME }
  for _, name in ipairs(ORDER) do
    local value = parameters[name]
    if value == true then parts[#parts + 1] = name elseif value then parts[#parts + 1] = name .. "=" .. value end
  end
  return table.concat(parts, "; ")
end

-- Agreeing ------------------------------------------------------------------------------------------------------------

-- A window of ours may be smaller than the one agreed on: where it goes on, and nobody asked for one, it is.
local function ownWindow(agreed, asked, goesOn)
  if goesOn and not asked then return math.min(agreed or FULL, SMALL) end
  return agreed or FULL
end

local function agreement(accepted, isServer, options)
  local ours, theirs = isServer and "server" or "client", isServer and "client" or "server"
  local deflateGoesOn = not accepted[ours .. "_no_context_takeover"]
  return {
    inflate = accepted[theirs .. "_max_window_bits"] or FULL, inflateGoesOn = not accepted[theirs .. "_no_context_takeover"],
    deflate = ownWindow(accepted[ours .. "_max_window_bits"], options[ours .. "MaxWindowBits"], deflateGoesOn),
    deflateGoesOn = deflateGoesOn,
  }
end

-- What the server answers to an offer; nil where it does not take it.
local function answer(offered, options)
  local accepted = {
    server_no_context_takeover = offered.server_no_context_takeover or options.serverNoContextTakeover or nil,
    client_no_context_takeover = offered.client_no_context_takeover or options.clientNoContextTakeover or nil,
  }
  local server, client = options.serverMaxWindowBits, options.clientMaxWindowBits
  local offeredServer, offeredClient = offered.server_max_window_bits, offered.client_max_window_bits
  if server or offeredServer then accepted.server_max_window_bits = math.min(server or FULL, offeredServer or FULL) end
  if offeredClient == nil then
    if client and client < FULL then return nil end        -- one that did not say that it can must not be told to
  elseif offeredClient == true then
    accepted.client_max_window_bits = client or SMALL
  else
    accepted.client_max_window_bits = math.min(client or FULL, offeredClient)
  end
  return accepted
end

--- A server's choice: the first offer that it can take.
---@param header string
---@param options PerMessageDeflateOptions
---@return DeflateAgreement? agreement nil: there is none
---@return string? answer the header's value
function extension.accept(header, options)
  for _, found in ipairs(extension.parse(header) or {}) do
    local offered = found.name == NAME and read(found, true)
    local accepted = offered and answer(offered, options)
    if accepted then return agreement(accepted, true, options), write(accepted) end
  end
end

--- What a client offers.
---@param options PerMessageDeflateOptions
---@return string
function extension.offer(options)
  return write{
    server_no_context_takeover = options.serverNoContextTakeover or nil,
    client_no_context_takeover = options.clientNoContextTakeover or nil,
    server_max_window_bits = options.serverMaxWindowBits,
    client_max_window_bits = options.clientMaxWindowBits or true,
  }
end

--- Checks a server's answer to that.
---@param header string
---@param options PerMessageDeflateOptions
---@return DeflateAgreement? agreement nil: it is no answer to what was offered
function extension.agree(header, options)
  local list = extension.parse(header)
  if not list or #list ~= 1 or list[1].name ~= NAME then return nil end
  local accepted = read(list[1], false)
  if not accepted then return nil end
  local server, client = options.serverMaxWindowBits, options.clientMaxWindowBits
  if options.serverNoContextTakeover and not accepted.server_no_context_takeover then return nil end
  if server and (accepted.server_max_window_bits or FULL) > server then return nil end
  if client and (accepted.client_max_window_bits or client) > client then return nil end
  if options.clientNoContextTakeover then accepted.client_no_context_takeover = true end
  if client then accepted.client_max_window_bits = accepted.client_max_window_bits or client end
  return agreement(accepted, false, options)
end

return extension
