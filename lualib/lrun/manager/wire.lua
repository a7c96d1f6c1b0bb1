--- JSON lines over a luv stream: whole lines in, tables out. A line has a limit; so has what waits for a reader that does not read:
--- past it messages are dropped and, once there is room, counted in one `{"lost":n}`.
local json = require("json")

local wire = {}

wire.MAX_LINE = 16 * 1024 * 1024
wire.MAX_QUEUE = 1024 * 1024
wire.VERSION = 1

---@class LineReader
---@field feed fun(data: string): boolean false: a line is too long, nothing more is taken

--- Makes a reader of lines.
---@param limit integer bytes of a line
---@param onLine fun(line: string)
---@return LineReader
function wire.reader(limit, onLine)
  local parts, length = {}, 0
  local reader = {}
  function reader.feed(data)
    local at = 1
    while true do
      local stop = data:find("\n", at, true)
      if not stop then break end
      if length + stop - at > limit then return false end
      local line = data:sub(at, stop - 1)
      if length > 0 then
        parts[#parts + 1] = line
        line = table.concat(parts)
        parts, length = {}, 0
      end
      at = stop + 1
      if line:find("%S") then onLine(line) end
    end
    if at <= #data then
      parts[#parts + 1] = at == 1 and data or data:sub(at)
      length = length + #data - at + 1
      if length > limit then return false end
    end
    return true
  end
  return reader
end

--- A line of JSON; what is not UTF-8 in it is replaced.
---@param value table
---@return string
function wire.encode(value)
  local ok, text = pcall(json.encode, value)
  if not ok then text = json.encode(wire.clean(value)) end
  return text .. "\n"
end

-- A byte that begins a character of UTF-8 → how many follow, and the least that the second may be, the most.
local function follows(byte)
  if byte < 0x80 then return 0 end
  if byte >= 0xC2 and byte <= 0xDF then return 1, 0x80, 0xBF end
  if byte == 0xE0 then return 2, 0xA0, 0xBF end
  if byte == 0xED then return 2, 0x80, 0x9F end
  if byte >= 0xE1 and byte <= 0xEF then return 2, 0x80, 0xBF end
  if byte == 0xF0 then return 3, 0x90, 0xBF end
  if byte >= 0xF1 and byte <= 0xF3 then return 3, 0x80, 0xBF end
  if byte == 0xF4 then return 3, 0x80, 0x8F end
end

--- A text with what is not UTF-8 replaced by U+FFFD.
---@param text string
---@return string
function wire.utf8(text)
  if not text:find("[\128-\255]") then return text end
  local parts, at, from = {}, 1, 1
  while true do
    at = text:find("[\128-\255]", at)
    if not at then break end
    local count, least, most = follows(text:byte(at))
    local good = count ~= nil
    for i = 1, count or 0 do
      local byte = text:byte(at + i)
      if not byte or byte < (i == 1 and least or 0x80) or byte > (i == 1 and most or 0xBF) then good = false end
    end
    if good then
      at = at + count + 1
    else
      parts[#parts + 1] = text:sub(from, at - 1)
      parts[#parts + 1] = "\239\191\189"
      at = at + 1
      from = at
    end
  end
  parts[#parts + 1] = text:sub(from)
  return table.concat(parts)
end

--- A copy of a value with all its texts in UTF-8.
function wire.clean(value)
  if type(value) == "string" then return wire.utf8(value) end
  if type(value) ~= "table" then return value end
  local copy = setmetatable({}, getmetatable(value))
  for key, each in pairs(value) do copy[wire.clean(key)] = wire.clean(each) end
  return copy
end

-- Texts that are not UTF-8, of environments and arguments, travel and are kept as a null byte and hexadecimal digits: neither can
-- hold a null byte itself.
local function isPlain(text) return wire.utf8(text) == text end

--- A copy of a value in which every text can be JSON.
function wire.pack(value)
  if type(value) == "string" then
    if isPlain(value) then return value end
    return "\0" .. value:gsub(".", function(c) return ("%02x"):format(c:byte()) end)
  end
  if type(value) ~= "table" then return value end
  local copy = setmetatable({}, getmetatable(value))
  for key, each in pairs(value) do copy[wire.pack(key)] = wire.pack(each) end
  return copy
end

--- The value that `pack` made a copy of.
function wire.unpack(value)
  if type(value) == "string" then
    if value:byte() ~= 0 then return value end
    return (value:sub(2):gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
  end
  if type(value) ~= "table" then return value end
  local copy = {}
  for key, each in pairs(value) do copy[wire.unpack(key)] = wire.unpack(each) end
  return copy
end

--- Makes a writer over a luv stream.
---@param stream uv_stream_t
---@param onWritten fun(err: string?)? a piece has been taken, or will not be
---@return fun(value: table, must: boolean?) send `must`: an answer, which is not dropped
function wire.writer(stream, onWritten)
  local lost = 0
  local function write(text)
    if not stream:is_closing() then stream:write(text, onWritten) end
  end
  return function(value, must)
    if stream:is_closing() then return end
    local queued = stream:get_write_queue_size()
    if not must and queued > wire.MAX_QUEUE then
      lost = lost + 1
      return
    end
    if lost > 0 and queued < wire.MAX_QUEUE then
      write(wire.encode{ lost = lost })
      lost = 0
    end
    write(wire.encode(value))
  end
end

--- An empty list that is written as `[]`.
function wire.list(values) return setmetatable(values or {}, { __jsontype = "array" }) end

return wire
