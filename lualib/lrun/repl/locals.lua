--- Locals of the prompt: what an input declares with `local` at its top level is there for later inputs, and for the functions
--- that inputs define. Such variables stand before the globals in the environment of each chunk; the declaration
--- `local a, b = …` becomes an assignment to a table of that environment, in place, so that lines stay what they are.
local locals = {}

local TABLE = "_LRUN_LOCALS"        -- the table's name in the environment

-- One token from `at`: its kind, its text, and where it ends. Blanks and comments are kind "blank".
local function token(source, at)
  local stop = source:match("^%s+()", at)
  if stop then return "blank", source:sub(at, stop - 1), stop end
  local level = source:match("^%-%-%[(=*)%[", at)
  if level then
    stop = select(2, source:find("]" .. level .. "]", at, true)) or #source
    return "blank", source:sub(at, stop), stop + 1
  end
  stop = source:match("^%-%-[^\n]*()", at)
  if stop then return "blank", source:sub(at, stop - 1), stop end
  level = source:match("^%[(=*)%[", at)
  if level then
    stop = select(2, source:find("]" .. level .. "]", at, true)) or #source
    return "string", source:sub(at, stop), stop + 1
  end
  local quote = source:match("^[\"']", at)
  if quote then
    stop = at + 1
    while stop <= #source and source:sub(stop, stop) ~= quote do
      stop = stop + (source:sub(stop, stop) == "\\" and 2 or 1)
    end
    return "string", source:sub(at, stop), stop + 1
  end
  stop = source:match("^[%a_\128-\255][%w_\128-\255]*()", at)
  if stop then return "name", source:sub(at, stop - 1), stop end
  stop = source:match("^%.?%d[%w_.]*()", at)
  if stop then return "number", source:sub(at, stop - 1), stop end
  return "mark", source:sub(at, at), at + 1
end

local OPENS = { ["function"] = true, ["do"] = true, ["then"] = true, ["repeat"] = true, ["("] = true, ["{"] = true, ["["] = true }
local CLOSES = { ["end"] = true, ["until"] = true, ["elseif"] = true, [")"] = true, ["}"] = true, ["]"] = true }

-- The next token that is none of the blanks.
local function following(source, at)
  local kind, text, stop
  repeat
    if at > #source then return nil, nil, at end
    kind, text, stop = token(source, at)
    if kind == "blank" then at = stop end
  until kind ~= "blank"
  return kind, text, stop, at
end

-- Rewrites the declaration whose `local` ended before `at`. Returns the new text and where the source goes on.
local function declaration(source, at)
  local kind, text, stop, start = following(source, at)
  if text == "function" then
    local _, name, afterName = following(source, stop)
    return source:sub(at, stop - 1) .. " " .. TABLE .. "." .. name, afterName
  end
  local out = { source:sub(at, start - 1) }
  local count = 0
  while kind == "name" do
    count = count + 1
    out[#out + 1] = TABLE .. "." .. text
    at = stop
    local _, mark, afterMark = following(source, at)
    if mark ~= "," then break end
    out[#out + 1] = source:sub(at, afterMark - 1)
    kind, text, stop, start = following(source, afterMark)
    out[#out + 1] = source:sub(afterMark, start - 1)
  end
  local _, mark = following(source, at)
  if mark ~= "=" then out[#out + 1] = mark == ";" and " = nil" or " = nil;" end
  return table.concat(out), at
end

-- `source`, which is known to compile, with its top level's `local` turned into assignments.
local function rewrite(source)
  local out, at, depth = {}, 1, 0
  while at <= #source do
    local kind, text, stop = token(source, at)
    if kind == "name" and text == "local" and depth == 0 then
      local changed
      changed, at = declaration(source, stop)
      out[#out + 1] = changed:gsub("^%s", "", 1)
    else
      if kind == "name" or kind == "mark" then
        if OPENS[text] then depth = depth + 1 elseif CLOSES[text] then depth = depth - 1 end
      end
      out[#out + 1] = text
      at = stop
    end
  end
  return table.concat(out)
end

-- What chunks have for their globals: the variables in `cells`, then those of `_G`. `local a` makes a new variable.
local function newEnvironment(cells)
  local store = setmetatable({}, { __newindex = function(_, name, value) cells[name] = { value } end })
  return setmetatable({}, {
    __index = function(_, name)
      local cell = cells[name]
      if cell then return cell[1] end
      if name == TABLE then return store end
      return _G[name]
    end,
    __newindex = function(_, name, value)
      local cell = cells[name]
      if cell then cell[1] = value else _G[name] = value end
    end,
  })
end

--- A new set of locals.
---@return { chunk: function, environment: table, names: fun(): string[] }
function locals.new()
  local self = {}
  local cells = {}
  self.environment = newEnvironment(cells)

  --- Gives a chunk its environment. One that declares locals gets a new one, which later inputs share: functions of earlier
  --- inputs keep the variables that they know.
  ---@param source string that compiles
  ---@param compile fun(source: string): function?
  ---@return function chunk
  function self.chunk(source, compile)
    local changed = source:find("%f[%w_]local%f[^%w_]") and rewrite(source) or source
    if changed ~= source then
      local copy = {}
      for name, cell in pairs(cells) do copy[name] = cell end
      cells = copy
      self.environment = newEnvironment(cells)
    end
    return setfenv(compile(changed) or compile(source), self.environment)
  end

  --- The names of the locals.
  function self.names()
    local list = {}
    for name in pairs(cells) do list[#list + 1] = name end
    return list
  end

  return self
end

return locals
