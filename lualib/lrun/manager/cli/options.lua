--- The options of one verb, read from its arguments. Plain values in and out; throws { usage = text } for what cannot be.
local nearest = require("lrun.manager.nearest")

local options = {}

---@class VerbOption
---@field name string without its hyphens
---@field short string? a letter
---@field value string? what its value is called in the help; nil: it takes none
---@field aliases string[]?
---@field field string? of an app, which it sets
---@field flag boolean? a field that is true without a value
---@field list boolean? may be given several times
---@field help string

local function fail(text, ...) error({ usage = text:format(...) }, 0) end

local function index(list)
  local byName, byLetter, names = {}, {}, {}
  for _, option in ipairs(list) do
    byName[option.name] = option
    names[#names + 1] = "--" .. option.name
    for _, alias in ipairs(option.aliases or {}) do
      byName[alias] = option
      names[#names + 1] = "--" .. alias
    end
    if option.short then byLetter[option.short] = option end
  end
  return byName, byLetter, names
end

local function isSwitch(option) return option.value == nil or option.flag == true end

local function set(result, option, value)
  if option.field then
    result.fields[option.field] = value
    return
  end
  if option.list then
    result[option.name] = result[option.name] or {}
    table.insert(result[option.name], value)
    return
  end
  result[option.name] = value
end

local function readLong(state, argument)
  local name, value = argument:match("^%-%-([^=]+)=?(.*)$")
  if not argument:find("=", 1, true) then value = nil end
  local option = state.byName[name]
  local negated = not option and name:match("^no%-(.+)$")
  if negated and state.byName[negated] and isSwitch(state.byName[negated]) then
    return set(state.result, state.byName[negated], false)
  end
  if not option then
    local hint = nearest.name("--" .. name, state.names)
    fail("%s: unknown option '--%s'%s", state.verb, name, hint and ("; did you mean '%s'?"):format(hint) or "")
  end
  if isSwitch(option) then
    if value == "false" then value = false elseif value == nil or value == "true" then value = true
    elseif not option.flag or option.value == "BOOLEAN" then fail("%s: option '--%s' takes no value", state.verb, name) end
    return set(state.result, option, value)
  end
  if value == nil then
    state.at = state.at + 1
    value = state.args[state.at]
    if value == nil then fail("%s: option '--%s' needs a value: %s", state.verb, name, option.value) end
  end
  set(state.result, option, value)
end

local function readShort(state, argument)
  local letter, rest = argument:sub(2, 2), argument:sub(3)
  local option = state.byLetter[letter]
  if not option then fail("%s: unknown option '%s'", state.verb, argument) end
  if isSwitch(option) then
    set(state.result, option, true)
    if rest ~= "" then return readShort(state, "-" .. rest) end
    return
  end
  if rest == "" then
    state.at = state.at + 1
    rest = state.args[state.at]
    if rest == nil then fail("%s: option '-%s' needs a value: %s", state.verb, letter, option.value) end
  end
  set(state.result, option, rest)
end

--- Reads arguments.
---@param verb { name: string, options: VerbOption[], numbers: boolean? } `numbers`: -2 is no option
---@param args string[]
---@return table result by option's name; `fields` of an app; `words`; `rest`: what follows `--`, or nil
function options.read(verb, args)
  local byName, byLetter, names = index(verb.options)
  local state = { verb = verb.name, byName = byName, byLetter = byLetter, names = names, args = args, at = 1, result = { fields = {}, words = {} } }
  while state.at <= #args do
    local argument = args[state.at]
    if argument == "--" then
      state.result.rest = { unpack(args, state.at + 1) }
      break
    elseif argument:sub(1, 2) == "--" then readLong(state, argument)
    elseif argument:sub(1, 1) == "-" and #argument > 1 and not (verb.numbers and argument:find("^%-%d+$")) then readShort(state, argument)
    else table.insert(state.result.words, argument) end
    state.at = state.at + 1
  end
  return state.result
end

--- The lines of help for options.
---@param list VerbOption[]
---@return string
function options.help(list)
  local lines = {}
  for _, option in ipairs(list) do
    local label = option.short and ("  -%s, --%s"):format(option.short, option.name) or ("      --%s"):format(option.name)
    if option.value and not option.flag then label = label .. " " .. option.value end
    lines[#lines + 1] = #label < 32 and ("%-32s %s"):format(label, option.help) or ("%s\n%32s %s"):format(label, "", option.help)
  end
  return table.concat(lines, "\n")
end

return options
