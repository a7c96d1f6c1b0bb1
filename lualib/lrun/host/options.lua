--- lrun's own options: one table, from which the command line is read, and help, completions (lrun/host/completion.lua), the
--- table in docs/cli.md and the list in docs/lrun.1 are made or checked. boot.lua comes here when there is an option to read.
local options = {}

---@class OwnOption
---@field names string[] as typed: `-x` takes its value from the rest of the argument or the next one, `--name` from behind `=` or
---  the next one
---@field value string? what its value is called: it needs one
---@field attached boolean? its value is the rest of the argument, which may be empty
---@field text string one line of help
---@field complete string|string[]? what its value is: "modules", "scripts", "files", "folders", or these words
---@field handedOn boolean? part of process.execArgv, and so of what `fork` starts
---@field read (fun(result: ReadOptions, value: string?, name: string): string?)? what it does; an error as text

---@class ReadOptions
---@field lrun string what lrun was called
---@field mode string "run", "check", "help", "version", "licenses", "completion", "watch", "test"
---@field script string?
---@field args string[]
---@field execArgv string[]
---@field steps { kind: string, value: string }[] what -e, -p, -l, -j and -O do, in order
---@field code integer how many of these are -e and -p: with one of them there is no script
---@field interactive boolean?
---@field title string?
---@field shell string?
---@field envFiles string[]?
---@field watchPaths string[]?
---@field verb string? a command of lrun's: see lrun/host/verbs.lua

local SHELLS = { "bash", "zsh", "fish" }

local function step(kind)
  return function(result, value) result.steps[#result.steps + 1] = { kind = kind, value = value } end
end

local function code(kind)
  local add = step(kind)
  return function(result, value)
    result.code = result.code + 1
    add(result, value)
  end
end

-- Help and version win over whatever else is asked for.
local function mode(name)
  return function(result) result.mode = name end
end

local function readCheck(result, value) result.mode, result.script = "check", value end

local function readCompletion(result, value)
  result.mode, result.shell = "completion", value
  for _, shell in ipairs(SHELLS) do if shell == value then return nil end end
  return ("no completion for '%s': there is one for bash, zsh and fish"):format(value)
end

local function add(field)
  return function(result, value)
    result[field] = result[field] or {}
    table.insert(result[field], value)
  end
end

---@type OwnOption[]
options.list = {
  { names = { "-e" }, value = "CODE", text = "run a string; may repeat", read = code("-e") },
  { names = { "-p" }, value = "CODE", text = "run an expression and print its value", read = code("-p") },
  { names = { "-i" }, text = "the prompt after the script", read = function(result) result.interactive = true end },
  { names = { "-l", "-r" }, value = "NAME", text = "require a module first", complete = "modules", handedOn = true,
    read = step("-l") },
  { names = { "-c" }, value = "FILE", text = "check the syntax, run nothing; `-`: standard input", complete = "scripts",
    read = readCheck },
  { names = { "-j" }, value = "CMD", text = "LuaJIT command, such as -joff, -jv, -jp (profile)", handedOn = true,
    complete = { "on", "off", "flush", "v", "dump", "p", "opt" }, read = step("-j") },
  { names = { "-O" }, value = "LEVEL", attached = true, text = "LuaJIT optimization", handedOn = true, read = step("-O") },
  { names = { "--env-file" }, value = "FILE", text = "environment variables from a file; may repeat", complete = "files",
    handedOn = true, read = add("envFiles") },
  { names = { "--watch" }, text = "run again when a file that was loaded changes", read = mode("watch") },
  { names = { "--watch-path" }, value = "DIR", text = "also when a file in DIR changes; may repeat", complete = "folders",
    read = add("watchPaths") },
  { names = { "--test" }, text = "run specs with busted: lrun --test [FILES]", read = mode("test") },
  { names = { "--no-inspect" }, text = "nobody may look inside, as lrun attach does", handedOn = true,
    read = function() require("lrun.core.probe").forbid() end },
  { names = { "--title" }, value = "NAME", text = "process title", handedOn = true,
    read = function(result, value) result.title = value end },
  { names = { "--completion" }, value = "SHELL", text = "print a script that completes all this", complete = SHELLS,
    read = readCompletion },
  { names = { "-v", "--version" }, text = "version, also of the libraries", read = mode("version") },
  { names = { "--licenses" }, text = "licences of lrun and of what is linked into it", read = mode("licenses") },
  { names = { "-h", "--help" }, text = "this help", read = mode("help") },
  { names = { "--" }, text = "end of the options" },
}

-- Reading -------------------------------------------------------------------------------------------------------------

local function byName(list)
  local found = {}
  for _, option in ipairs(list) do
    for _, name in ipairs(option.names) do found[name] = option end
  end
  return found
end

local function unknown(argument, known)
  local names = {}
  for name in pairs(known) do if name:find("^%-%-%a") then names[#names + 1] = name end end
  local similar = argument:find("^%-%-") and require("lrun.host.similar").nearest(argument:match("^[^=]*"), names)
  return ("unknown option '%s'"):format(argument) .. (similar and ("; did you mean '%s'?"):format(similar) or "")
end

-- The option that an argument is, its name as typed, and the value that is attached to it (nil: none).
local function split(argument, known)
  local name, attached = argument:match("^(%-%-[^=]*)=(.*)$")
  if not name and argument:find("^%-%-") then name = argument end
  if not name then
    name, attached = argument:sub(1, 2), argument:sub(3)
    if attached == "" then attached = nil end
  end
  local option = known[name]
  if not option or attached and not option.value then return nil end
  return option, name, attached
end

-- Reads the argument at `at`; returns the place of the last one that belongs to it, or nil and the error.
local function readOne(result, argv, at, known)
  local option, name, value = split(argv[at], known)
  if not option then return nil, unknown(argv[at], known) end
  if option.attached then
    result.execArgv[#result.execArgv + 1] = argv[at]
    return option.read(result, value or "", name) or at
  end
  if option.value and not value then
    at = at + 1
    value = argv[at]
  elseif value == "" then
    value = nil
  end
  if option.value and not value then
    local words = type(option.complete) == "table" and #name > 2 and "one of " .. table.concat(option.complete, ", ")
    return nil, ("option '%s' needs %s"):format(name, words or "a value")
  end
  if option.handedOn then
    result.execArgv[#result.execArgv + 1] = name
    result.execArgv[#result.execArgv + 1] = value
  end
  local err = option.read(result, value, name)
  if err then return nil, err end
  return at
end

-- What cannot stand together. -c runs nothing, so nothing that runs may stand beside it.
local function checkCombination(result, extra)
  if result.watchPaths and result.mode == "run" then return "option '--watch-path' belongs to '--watch'" end
  if result.mode == "watch" and (not extra or extra == "-" or result.code > 0 or result.interactive) then
    return "option '--watch' needs a script, without -e, -p and -i"
  end
  if result.mode ~= "check" then return nil end
  local text = "option '-c' runs nothing, so it cannot stand beside '%s'"
  if result.code > 0 then return text:format("-e or -p") end
  if result.interactive then return text:format("-i") end
  if extra then return ("one file after '-c', not also '%s'"):format(extra) end
end

--- Reads a command line. What follows the script is the script's.
---@param argv table<integer, string> [0] the program, [1]… its arguments
---@return ReadOptions? result
---@return string? err one line
function options.read(argv)
  local result = { lrun = argv[0], mode = "run", args = {}, execArgv = {}, steps = {}, code = 0 }
  local known = byName(options.list)
  local at, ended = 1, false
  while not ended and argv[at] and argv[at] ~= "-" and argv[at]:sub(1, 1) == "-" do
    ended = argv[at] == "--"
    local last, err = at, nil
    if not ended then last, err = readOne(result, argv, at, known) end
    if not last then return nil, err end
    at = last + 1
    ended = ended or result.mode == "test"        -- the others are busted's
  end
  local err = checkCombination(result, argv[at])
  if err then return nil, err end
  if not result.script and result.code == 0 and result.mode ~= "test" and argv[at] then
    result.script = argv[at]
    if not ended and result.mode == "run" and require("lrun.host.verbs").find(argv[at]) then result.verb = argv[at] end
    at = at + 1
  end
  for i = at, #argv do result.args[i - at + 1] = argv[i] end
  return result
end

-- Help ----------------------------------------------------------------------------------------------------------------

--- `-l NAME, -r NAME`: an option as help and pages show it.
---@param option OwnOption
---@return string
function options.label(option)
  local labels = {}
  for i, name in ipairs(option.names) do
    labels[i] = option.attached and name .. option.value or option.value and name .. " " .. option.value or name
  end
  return table.concat(labels, ", ")
end

local HEAD = [[
Usage: lrun [options] script.lua [arguments]
       lrun [options] -          run standard input
       lrun                      prompt on a terminal, else run standard input

]]

--- The text of `lrun --help`.
---@return string
function options.help()
  local lines = { HEAD }
  for _, option in ipairs(options.list) do
    lines[#lines + 1] = ("  %-22s %s\n"):format(options.label(option), (option.text:gsub("`", "'")))
  end
  lines[#lines + 1] = require("lrun.host.verbs").help()
  return table.concat(lines)
end

return options
