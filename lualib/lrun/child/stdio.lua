--- The `stdio` option: every form of it as one slot a descriptor, and the pairs of descriptors behind pipes and channel.
local ffi = require("ffi")
local uv = require("luv")
local channels = require("lrun.core.channel")
local handles = require("lrun.net.handles")
local sockets = require("lrun.core.sockets")
local spawn = require("lrun.core.spawn")
local errors = require("errors")

local stdio = {}

ffi.cdef("int fileno(void *stream);")

--- One word for all of a child's descriptors.
---@param word string
---@param channel string? what to add behind, "ipc" for fork
---@return string[]
function stdio.fromWord(word, channel)
  local slots
  if word == "ignore" or word == "overlapped" or word == "pipe" then slots = { word, word, word }
  elseif word == "inherit" then slots = { "inherit", "inherit", "inherit" }
  else error(errors.argValue("stdio", word), 0) end
  slots[4] = channel
  return slots
end

local function isDescriptor(value)
  return type(value) == "number" and value >= 0 and value < 2 ^ 31 and value == math.floor(value)
end

local function descriptorOf(value)
  if isDescriptor(value) then return value end
  if io.type(value) == "file" then
    value:flush()                    -- what was written before comes before what the child writes
    return ffi.C.fileno(value)
  end
  local handle = value
  if type(value) == "table" then
    if isDescriptor(value.fd) then return value.fd end
    handle = value._handle
  end
  if type(handle) ~= "userdata" then return nil end
  local ok, fd = pcall(uv.fileno, handle)
  return ok and fd or nil
end

-- What one entry of the option asks for: { kind = "ignore"|"pipe"|"ipc"|"fd", fd = integer? }.
local function slotOf(value, i)
  if value == nil then return { kind = i <= 3 and "pipe" or "ignore" } end
  if value == "ignore" then return { kind = "ignore" } end
  if value == "pipe" or value == "overlapped" then return { kind = "pipe" } end
  if value == "ipc" then return { kind = "ipc" } end
  if value == "inherit" then return { kind = "fd", fd = i - 1 } end
  local fd = descriptorOf(value)
  if fd then return { kind = "fd", fd = fd, lent = type(value) == "table" and value.readable and value or nil } end
  error(errors.argValue("stdio", value), 0)
end

local function lastIndex(list)
  local last = 0
  for key in pairs(list) do
    if type(key) == "number" and key > last then last = key end
  end
  return last
end

--- The slots of a `stdio` option; `false` in it counts as nil does, a pipe for the first three.
---@param option string|table|nil
---@param sync boolean whether the call waits for the child, where a channel makes no sense
---@return table[] slots
---@return integer? channel the index of the "ipc" slot
function stdio.parse(option, sync)
  if option == nil then option = "pipe" end
  if type(option) == "string" then option = stdio.fromWord(option) end
  if type(option) ~= "table" or getmetatable(option) ~= nil then error(errors.argValue("stdio", option), 0) end
  local slots, channel, count = {}, nil, math.max(3, lastIndex(option))
  if count > spawn.MAX_SLOTS then error(errors.outOfRange("stdio", ("%d entries at most"):format(spawn.MAX_SLOTS), count), 0) end
  for i = 1, count do
    local value = option[i]
    if value == false then value = nil end
    local slot = slotOf(value, i)
    if slot.kind == "ipc" then
      if sync then error(errors.coded("ERR_IPC_SYNC_FORK", "IPC cannot be used with synchronous forks"), 0) end
      if channel then error(errors.coded("ERR_IPC_ONE_PIPE", "Child process can have only one IPC pipe"), 0) end
      channel = i
    end
    slots[i] = slot
  end
  return slots, channel
end

--- Opens pairs for the pipes and the channel. Returns what the plan's `stdio` is; `slot.ours` and `slot.theirs` are the ends.
---@return integer[]? numbers
---@return Error? err
function stdio.open(slots)
  local numbers = {}
  for i, slot in ipairs(slots) do
    if slot.kind == "fd" then
      numbers[i] = slot.fd
    elseif slot.kind == "ignore" then
      numbers[i] = spawn.IGNORE
    else
      local ours, theirs = channels.pair()
      if not ours then
        stdio.close(slots, "ours")
        stdio.close(slots, "theirs")
        return nil, theirs
      end
      slot.ours, slot.theirs = ours, theirs
      numbers[i] = theirs
    end
  end
  return numbers
end

--- Closes one side of what `open` opened.
---@param side "ours"|"theirs"
function stdio.close(slots, side)
  for _, slot in ipairs(slots) do
    if slot[side] then
      sockets.close(slot[side])
      slot[side] = nil
    end
  end
end

--- Makes a stream of our end of a pipe: written to when it is the child's input, else read from. One that is closed already
--- makes a destroyed stream.
---@param slot table
---@param i integer the slot's index
---@return Socket
function stdio.stream(slot, i)
  local Socket, readable, writable = require("net").Socket, i > 1, i == 1 or i > 3
  if not slot.ours then
    local stream = Socket:new{ readable = readable, writable = writable }
    stream:destroy()
    return stream
  end
  local handle, code = handles.open("pipe", slot.ours)
  if not handle then error(errors.system(code, "open"), 0) end
  slot.ours = nil
  return Socket:new{ handle = handle, readable = readable, writable = writable }
end

return stdio
