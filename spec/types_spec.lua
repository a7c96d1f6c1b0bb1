-- Every public function has annotations: a comment block right above its definition, which lua-language-server shows.
local EventEmitter = require("events").EventEmitter
local uv = require("luv")

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

-- name → true, for all `function x.name(`, `function x:name(` and `x.name = ` with a comment above, in lualib/.
local annotated = {}

local function scan(folder)
  local request = assert(uv.fs_scandir(folder))
  for name, kind in function() return uv.fs_scandir_next(request) end do
    local path = folder .. "/" .. name
    if kind == "directory" then
      scan(path)
    elseif name:find("%.lua$") then
      local before = ""
      for line in read(path):gmatch("([^\n]*)\n") do
        local field = line:match("^%-%-%-@field ([%w_]+)")
        if field then annotated[field] = true end
        local defined = line:match("^%s*function [%w_]+[.:]([%w_]+)%(") or line:match("^%s*[%w_]+%.([%w_]+) = ")
          or line:match("^%s*local function ([%w_]+)%(")
        if defined and before:find("^%s*%-%-%-") then annotated[defined] = true end
        before = line
      end
    end
  end
end

scan("lualib")

local function isClass(value) return type(value) == "table" and rawget(value, "__getters") ~= nil end

describe("annotations", function()
  for _, name in ipairs(require("lrun.complete").modules()) do
    it("stand above the functions of " .. name, function()
      local module = require(name)
      local missing = {}
      local function look(label, t, skip)
        for key, value in pairs(t) do
          if type(key) == "string" and not key:find("^_") and not (skip and skip[key]) then
            if type(value) == "function" and key ~= "initialize" and not annotated[key] then missing[#missing + 1] = label .. key end
          end
        end
      end
      -- Lua's own os needs none.
      local lua = { clock = 1, date = 1, difftime = 1, execute = 1, exit = 1, getenv = 1, remove = 1, rename = 1, setlocale = 1,
        time = 1, tmpname = 1 }
      look(name .. ".", module, name == "os" and lua)
      for key, value in pairs(module) do
        if isClass(value) then look(name .. "." .. key .. ":", value, { extend = 1, getter = 1, new = 1 }) end
      end
      table.sort(missing)
      assert.same({}, missing)
    end)
  end

  it("declare the global process", function()
    local types = read("docs/types/process.lua")
    assert(loadstring(types))
    for key, value in pairs(process) do
      if type(value) == "function" and EventEmitter[key] == nil then
        assert.truthy(types:find("\nfunction process." .. key .. "(", 1, true), key)
      end
    end
    for name in types:gmatch("\nfunction process%.(%w+)") do
      if name ~= "send" and name ~= "disconnect" then assert.equal("function", type(process[name]), name) end
    end
  end)
end)
