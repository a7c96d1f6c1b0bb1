--- What a terminal shows: takes what a program writes to an xterm and keeps the screen. Knows what line editors use.
local screen = {}
local Screen = {}
Screen.__index = Screen

---@param rows integer
---@param columns integer
function screen.new(rows, columns)
  return setmetatable({ rows = rows, columns = columns, row = 1, column = 1, lines = { {} }, rest = "" }, Screen)
end

local function cells(self)
  local line = self.lines[self.row]
  while not line do
    self.lines[#self.lines + 1] = {}
    line = self.lines[self.row]
  end
  return line
end

local function down(self)
  self.row = self.row + 1
  cells(self)
  if self.row > self.rows then
    table.remove(self.lines, 1)
    self.row = self.rows
  end
end

local function put(self, char)
  if self.column > self.columns then
    self.column = 1
    down(self)
  end
  local line = cells(self)
  for i = #line + 1, self.column - 1 do line[i] = " " end
  line[self.column] = char
  self.column = self.column + 1
end

local function cut(line, from) for i = #line, from, -1 do line[i] = nil end end

local control = {
  A = function(self, n) self.row = math.max(1, self.row - n) end,
  B = function(self, n) self.row = math.min(self.rows, self.row + n) cells(self) end,
  C = function(self, n) self.column = math.min(self.columns, self.column + n) end,
  D = function(self, n) self.column = math.max(1, math.min(self.column, self.columns) - n) end,
  G = function(self, n) self.column = n end,
  H = function(self, n, m) self.row, self.column = n, m or 1 cells(self) end,
  J = function(self, n, _, given)
    if given == "2" then self.lines = { {} } n = 1 end
    cut(cells(self), self.column)
    for i = #self.lines, self.row + 1, -1 do self.lines[i] = nil end
    return n
  end,
  K = function(self) cut(cells(self), self.column) end,
  P = function(self, n) for _ = 1, n do if cells(self)[self.column] then table.remove(cells(self), self.column) end end end,
  ["@"] = function(self, n)
    local line = cells(self)
    for i = #line + 1, self.column - 1 do line[i] = " " end
    for _ = 1, n do table.insert(line, self.column, " ") end
  end,
}

local plain = {
  ["\r"] = function(self) self.column = 1 end,
  ["\n"] = down,
  ["\b"] = function(self) self.column = math.max(1, self.column - 1) end,
  ["\a"] = function() end,
  ["\t"] = function(self) self.column = math.min(self.columns, self.column + 8 - (self.column - 1) % 8) end,
}

-- One piece of output; returns how many bytes it was, or nil when more must come first.
local function step(self, text, at)
  local byte = text:byte(at)
  if byte == 27 then
    local parameters, final, stop = text:match("^%[([%d;?>]*)([@-~])()", at + 1)
    if final then
      local n, m = parameters:match("^(%d*);?(%d*)")
      if control[final] then control[final](self, tonumber(n) or 1, tonumber(m), parameters) end
      return stop - at
    end
    stop = text:match("^[()].()", at + 1) or text:match("^%][^\a]*\a()", at + 1) or text:match("^[=>78cM]()", at + 1)
    return stop and stop - at or (#text - at > 40 and 1 or nil)
  end
  local char = text:sub(at, at)
  if plain[char] then
    plain[char](self)
    return 1
  end
  local length = byte >= 0xF0 and 4 or byte >= 0xE0 and 3 or byte >= 0xC0 and 2 or 1
  if #text - at + 1 < length then return nil end
  put(self, text:sub(at, at + length - 1))
  return length
end

function Screen:write(text)
  text = self.rest .. text
  local at = 1
  while at <= #text do
    local length = step(self, text, at)
    if not length then break end
    at = at + length
  end
  self.rest = text:sub(at)
end

--- The lines from the top, without blanks at their ends.
---@return string
function Screen:text()
  local lines = {}
  for i, line in ipairs(self.lines) do lines[i] = (table.concat(line):gsub("%s+$", "")) end
  return (table.concat(lines, "\n"):gsub("\n+$", ""))
end

return screen
