--- Dictionaries that all workers of a machine share: memory-mapped files (LMDB), so that readers take no lock, and a process that
--- is killed at any instruction harms nobody. Values are copied in and out.
local calls = require("lrun.check.calls")
local core = require("lrun.core.shared")
local dicts = require("lrun.shared.dict")
local errors = require("errors")
local place = require("lrun.shared.place")
local validate = require("lrun.check.validate")

---@class shared
---@field Dict Dict the class
local shared = { Dict = dicts.Dict }

local SIZE_MAX = 2 ^ 40

local opened = {}                    -- file → { dict, core }

---@class DictOptions
---@field size integer? bytes that it may hold, 16 MiB; at least 64 KiB
---@field evict boolean? true: when it is full, what was used least recently goes; false: `ENOSPC`
---@field path string? a folder, where it lasts over restarts; without one it goes with the cluster

local function checkName(name)
  validate.string(name, "name")
  if name == "" or #name > 100 or name:find("%z") then
    error(errors.argValue("name", name, "must have 1 to 100 bytes, none of them NUL"), 0)
  end
end

local function checkSize(size)
  validate.number(size, "options.size")
  if not (size >= core.sizeMin and size <= SIZE_MAX) or size ~= math.floor(size) then
    error(errors.outOfRange("options.size", ("a whole number >= %d and <= 2^40"):format(core.sizeMin), size), 0)
  end
  return size
end

local function otherOptions(name)
  return errors.coded("ERR_INVALID_ARG_VALUE", ("The dictionary '%s' is open with other options"):format(name))
end

local function open(name, file, options)
  local userdata, reason = core.open(file, options.path ~= nil, options.size, options.evict)
  if userdata then return { dict = dicts.of(name, file, userdata), core = userdata } end
  if reason == "OTHER" then error(otherOptions(name), 0) end
  if reason == "DAMAGED" then
    error(errors.coded("EIO", ("'%s' is no dictionary, or was cut: remove it with the file .notes beside it"):format(file),
      { path = file }), 0)
  end
  error(errors.system(reason, "open", { path = file }), 0)
end

--- The dictionary of a name: the first call makes it, in whichever process of the cluster, the others find it. Throws
--- `ERR_INVALID_ARG_VALUE` when it is there with other options.
---@param name string 1 to 100 bytes
---@param options DictOptions? none: as it is, or the defaults
---@return Dict
function shared.dict(name, options)
  checkName(name)
  options = validate.optional(validate.table, options, "options") or {}
  if options.size ~= nil then checkSize(options.size) end
  validate.flags(options, { "evict" })
  validate.optional(validate.string, options.path, "options.path")
  local folder = options.path and place.lasting(options.path) or place.folder()
  local file = place.file(folder, name)
  local known = opened[file]
  if not known then
    known = open(name, file, options)
    opened[file] = known
  elseif not known.core:accepts(options.size, options.evict) then
    error(otherOptions(name), 0)
  end
  return known.dict
end

calls.functions(shared, "shared")

return shared
