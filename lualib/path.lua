--- Paths as text. Nothing here looks at the file system, but `resolve` and `relative` start from the working directory.
--- Source: Node 20, `path.posix`, exactly, with what it does to doubled and trailing slashes.
local uv = require("luv")
local errors = require("errors")
local validate = require("lrun.check.validate")
local calls = require("lrun.check.calls")

---@class ParsedPath
---@field root string "/" or ""
---@field dir string
---@field base string last part, with its extension
---@field ext string from its last dot on
---@field name string `base` without `ext`

---@class path
---@field sep string "/"
---@field delimiter string ":"
local path = {
  sep = "/",                        -- between the parts of a path
  delimiter = ":",                  -- between the paths of a list, such as PATH
}

local function isAbsolute(text) return text:byte() == 0x2F end

-- Takes `.`, `..` and empty parts out. `..` cannot go above an absolute path's root; a relative path keeps those it needs.
local function collapse(text, absolute)
  local parts, count, depth = {}, 0, 0        -- depth counts the parts that a `..` can take back
  local at, size = 1, #text
  while at <= size do                         -- by what is compiled: patterns are not
    local slash = text:find("/", at, true) or size + 1
    local part = text:sub(at, slash - 1)
    at = slash + 1
    if part == ".." then
      if depth > 0 then
        count, depth = count - 1, depth - 1
      elseif not absolute then
        count = count + 1
        parts[count] = ".."
      end
    elseif part ~= "." and part ~= "" then
      count, depth = count + 1, depth + 1
      parts[count] = part
    end
  end
  return table.concat(parts, "/", 1, count)
end

local function normalize(text)
  if text == "" then return "." end
  local absolute, trailing = isAbsolute(text), text:sub(-1) == "/"
  local plain = collapse(text, absolute)
  if plain == "" then
    if absolute then return "/" end
    return trailing and "./" or "."
  end
  return (absolute and "/" or "") .. plain .. (trailing and "/" or "")
end

local function resolve(list, count)
  local text = ""
  for i = count, 1, -1 do
    if list[i] ~= "" then
      text = text == "" and list[i] or list[i] .. "/" .. text
      if isAbsolute(text) then break end
    end
  end
  if not isAbsolute(text) then
    local cwd, _, code = uv.cwd()
    if not cwd then error(errors.system(code, "uv_cwd"), 0) end
    text = cwd .. "/" .. text
  end
  return "/" .. collapse(text, true)
end

-- Where the last part stands: its first and last byte. A path of slashes, or none, has no last part.
local function lastPart(text)
  local last = text:match("^.*()[^/]")
  if not last then return nil end
  return text:sub(1, last):match("()[^/]*$"), last
end

local function extensionOf(base)
  if base == ".." then return "" end
  return base:match("^.+(%.[^.]*)$") or ""
end

--- Whether the path starts at the root.
---@param text string
---@return boolean
function path.isAbsolute(text) return isAbsolute(validate.string(text, "path")) end

--- Resolves `.` and `..` and doubled slashes; a trailing slash stays. The empty path is ".".
---@param text string
---@return string
function path.normalize(text) return normalize(validate.string(text, "path")) end

--- Joins the paths with slashes and normalizes what comes out. Empty ones count for nothing.
---@param ... string
---@return string
function path.join(...)
  local parts = {}
  for i = 1, select("#", ...) do
    local part = validate.string((select(i, ...)), "path")
    if part ~= "" then parts[#parts + 1] = part end
  end
  return normalize(table.concat(parts, "/"))
end

--- The absolute path that `cd`-ing from path to path would lead to, starting in the working directory.
---@param ... string
---@return string
function path.resolve(...)
  local list, count = { ... }, select("#", ...)
  for i = count, 1, -1 do
    validate.string(list[i], ("paths[%d]"):format(i - 1))
    if isAbsolute(list[i]) then break end
  end
  return resolve(list, count)
end

--- The path that leads from `from` to `to`; "" when they are the same.
---@param from string
---@param to string
---@return string
function path.relative(from, to)
  validate.string(from, "from")
  validate.string(to, "to")
  if from == to then return "" end
  local source, target, way = {}, {}, {}
  for part in resolve({ from }, 1):gmatch("[^/]+") do source[#source + 1] = part end
  for part in resolve({ to }, 1):gmatch("[^/]+") do target[#target + 1] = part end
  local shared = 0
  while shared < #source and source[shared + 1] == target[shared + 1] do shared = shared + 1 end
  for _ = shared + 1, #source do way[#way + 1] = ".." end
  for i = shared + 1, #target do way[#way + 1] = target[i] end
  return table.concat(way, "/")
end

--- Everything before the last part: "/a" of "/a/b", "." of "b".
---@param text string
---@return string
function path.dirname(text)
  validate.string(text, "path")
  local first = lastPart(text)
  if not first or first == 1 then return isAbsolute(text) and "/" or "." end
  if first == 2 then return "/" end
  if first == 3 and isAbsolute(text) then return "//" end
  return text:sub(1, first - 2)
end

--- The last part, without `suffix` if it ends so and is more than it.
---@param text string
---@param suffix string?
---@return string
function path.basename(text, suffix)
  if suffix ~= nil then validate.string(suffix, "suffix") end
  validate.string(text, "path")
  if suffix == text then return "" end
  local first, last = lastPart(text)
  local whole = not suffix or suffix == "" or #suffix > #text
  if not first then return whole and "" or text end      -- slashes alone, with a suffix: Node gives them back
  local base = text:sub(first, last)
  if whole then return base end
  if #base > #suffix then
    return base:sub(-#suffix) == suffix and base:sub(1, -#suffix - 1) or base
  end
  -- Node's way with a last part that the suffix ends in: the slashes behind it stay.
  if #suffix > #base and suffix:sub(-#base) == base then return text:sub(first) end
  return base
end

--- The last part from its last dot on: ".lua"; "" when it has none or only one at its start.
---@param text string
---@return string
function path.extname(text)
  local first, last = lastPart(validate.string(text, "path"))
  return first and extensionOf(text:sub(first, last)) or ""
end

--- Takes a path apart.
---@param text string
---@return ParsedPath
function path.parse(text)
  validate.string(text, "path")
  local root = isAbsolute(text) and "/" or ""
  local first, last = lastPart(text)
  if not first then return { root = root, dir = root, base = "", ext = "", name = "" } end
  local base = text:sub(first, last)
  local ext = text:sub(1, last) == "/.." and "." or extensionOf(base)       -- "/..": Node's answer
  return {
    root = root, dir = first > #root + 1 and text:sub(1, first - 2) or root,
    base = base, ext = ext, name = base:sub(1, #base - #ext),
  }
end

local function given(value) return value ~= nil and value ~= "" and value or nil end

--- Puts together what `parse` takes apart: `dir` goes before `root`, `base` before `name` and `ext`.
---@param parts { dir: string?, root: string?, base: string?, name: string?, ext: string? }
---@return string
function path.format(parts)
  validate.table(parts, "pathObject")
  for _, field in ipairs{ "dir", "root", "base", "name", "ext" } do
    validate.optional(validate.string, parts[field], "pathObject." .. field)
  end
  local ext = given(parts.ext) or ""
  if ext ~= "" and ext:sub(1, 1) ~= "." then ext = "." .. ext end
  local base = given(parts.base) or (given(parts.name) or "") .. ext
  local dir = given(parts.dir) or given(parts.root)
  if not dir then return base end
  return dir == parts.root and dir .. base or dir .. "/" .. base
end

calls.functions(path, "path")

return path
