--- Which names an app may have. Plain values in and out.
local names = {}

names.MAX = 200     -- bytes: with a suffix it still is a file's name

--- Why a name cannot be; nil when it can.
---@param name any
---@return string? problem
function names.problem(name)
  if type(name) ~= "string" or name == "" then return "a name cannot be empty" end
  if #name > names.MAX then return ("a name has at most %d bytes"):format(names.MAX) end
  if name == "all" then return "'all' is no name: it means all apps" end
  if name:sub(1, 1) == "." then return ("the name '%s' cannot begin with a dot"):format(name) end
  local wrong = name:match("[/*#]")
  if wrong then return ("the name '%s' cannot hold '%s'"):format(name, wrong) end
  if name:find("[%z\1-\31\127]") then return "a name cannot hold control characters" end
end

--- The name that a script gives: without folders and a known ending.
---@param script string
---@return string
function names.ofScript(script)
  local base = script:match("([^/]+)/*$") or script
  return (base:gsub("%.[%a]+$", function(ending)
    local known = { [".lua"] = 1, [".js"] = 1, [".cjs"] = 1, [".mjs"] = 1, [".py"] = 1, [".sh"] = 1, [".rb"] = 1, [".pl"] = 1, [".ts"] = 1,
      [".php"] = 1 }
    return known[ending] and "" or ending
  end))
end

--- The name of a shell command: its program's.
---@param command string
---@return string
function names.ofCommand(command)
  for word in command:gmatch("[^%s;&|()]+") do
    if not word:find("^[%a_][%w_]*=") then
      local name = names.ofScript((word:gsub("[\"']", "")))
      return names.problem(name) == nil and name or "command"
    end
  end
  return "command"
end

--- A free name made from one that is taken: `NAME-2`, `NAME-3` …
---@param name string
---@param isTaken fun(name: string): boolean
---@return string
function names.free(name, isTaken)
  local number = 2
  while isTaken(("%s-%d"):format(name, number)) do number = number + 1 end
  return ("%s-%d"):format(name, number)
end

return names
