--- What was typed as a chunk: an expression, whose values are wanted, or statements. For the prompt, for `-p`, for whoever runs
--- code that a person sends.
local chunk = {}

-- Text only: what starts with an escape is no bytecode here. The code is read byte by byte, so that an error tells how far
-- the parser came before it.
local function compile(prefix, source, name)
  local at = -1                       -- the prefix comes first
  local f, err = load(function()
    at = at + 1
    return at == 0 and prefix or source:sub(at, at)
  end, name, "t")
  return f, err, at
end

local function isExpected(err) return err:find("'<eof>' expected near", 1, true) ~= nil end

--- Compiles an expression (also one behind `=`) or statements. Of the two errors that code has which is neither, that of what
--- was meant: the parser came further with it.
---@param source string
---@param name string the chunk's name
---@return function? chunk
---@return string? err
---@return boolean? incomplete more lines may mend it
function chunk.compile(source, name)
  local explicit = source:match("^%s*=(.*)$")
  local f, err, reached = compile("return ", explicit or source, name)
  if f then return f end
  if not explicit then
    local statement, other, further = compile(" ", source, name)
    if statement then return statement end
    if further > reached or further == reached and isExpected(err) then err = other end
    if chunk.isIncomplete(other, source) then return nil, err, true end
  end
  return nil, err, chunk.isIncomplete(err, explicit or source)
end

--- Whether code failed to compile because it ends too early. A quoted string ends with its line, unless a backslash carries
--- it on.
---@param err string
---@param source string
---@return boolean
function chunk.isIncomplete(err, source)
  if not err:find("near '<eof>'$") then return false end
  return not err:find("unfinished string", 1, true) or source:sub(-1) == "\\"
end

return chunk
