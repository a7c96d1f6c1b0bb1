--- The type files that tools/types.lua writes, beside what the modules hold at run time.
local child_process = require("child_process")
local fs = require("fs")
local timers = require("timers")
local complete = require("lrun.repl.complete")

local BUILT_IN = {}
for word in ([[any nil boolean string number integer function table thread userdata self true false fun lightuserdata oslib]])
  :gmatch("%a+") do BUILT_IN[word] = true end

local directory
local types = {}                    -- class or module → { parents, members: name → { comment, arguments } or true }

local function ownerOf(name)
  types[name] = types[name] or { parents = {}, members = {} }
  return types[name]
end

local function read(path)
  local comment, members = {}, nil
  for line in io.lines(path) do
    if line:find("^%-%-%-") then
      local name, parents = line:match("^%-%-%-@class ([%w_]+):?%s*(.*)$")
      if name then
        local class = ownerOf(name)
        members = class.members
        for parent in parents:gmatch("[%w_]+") do table.insert(class.parents, parent) end
      end
      local alias = line:match("^%-%-%-@alias ([%w_]+)")
      if alias then ownerOf(alias) end
      local field = line:match("^%-%-%-@field ([%w_]+)")
      if field and members then members[field] = true end
      comment[#comment + 1] = line
    else
      local owner, name, arguments = line:match("^function ([%w_]+)[.:]([%w_]+)%((.-)%) end$")
      if owner then ownerOf(owner).members[name] = { comment = comment, arguments = arguments } end
      comment = {}
    end
  end
end

local function knows(name, member)
  local owner = types[name]
  if not owner then return false end
  if owner.members[member] then return true end
  for _, parent in ipairs(owner.parents) do if knows(parent, member) then return true end end
  return false
end

local function isPublic(key) return type(key) == "string" and not key:find("^_") end

local function isClass(value) return type(value) == "table" and rawget(value, "__index") ~= nil and type(value.name) == "string" end

-- The built-in modules, but for LuaJIT's.
local function modules()
  local list = { "process" }
  for _, name in ipairs(complete.modules()) do
    if name ~= "ffi" then list[#list + 1] = name end
  end
  return list
end

local PACKAGE = { errors = { system = true, coded = true, argType = true, argValue = true, outOfRange = true, badPort = true, missing = true } }
local LUAS_OWN = "clock date difftime execute exit getenv remove rename setlocale time tmpname"

local function isForUsers(module, key)
  if not isPublic(key) or PACKAGE[module] and PACKAGE[module][key] then return false end
  return not (module == "os" and LUAS_OWN:find(key, 1, true))
end

-- Two classes of one name at run time, and what is another class's under another name.
local TYPE_OF = { ["http.Server"] = "HttpServer", ["net.Stream"] = "Socket", ["tls.Server"] = "TLSServer",
  ["https.Server"] = "HttpsServer", ["https.Agent"] = "HttpsAgent" }

-- Class tables by the name that their type has.
local function runtimeClasses()
  local found = {}
  for _, name in ipairs(modules()) do
    for key, value in pairs(require(name)) do
      if isClass(value) then found[TYPE_OF[name .. "." .. key] or value.name] = value end
    end
  end
  local http = require("http")
  found.Agent, found.ClientRequest = http.Agent, http.ClientRequest
  local timer, immediate = timers.setTimeout(print, 1), timers.setImmediate(print)
  timers.clearTimeout(timer)
  timers.clearImmediate(immediate)
  found.Timeout, found.Immediate = getmetatable(timer), getmetatable(immediate)
  found.StandardOutput = getmetatable(process.stdout)
  return found
end

local function report(problems, what)
  table.sort(problems)
  assert(#problems == 0, ("%d %s:\n  %s"):format(#problems, what, table.concat(problems, "\n  ")))
end

describe("tools/types.lua", function()
  setup(function()
    directory = fs.mkdtempSync("/tmp/lrun-types-")
    child_process.execFileSync(process.execPath, { "tools/types.lua", "lualib", directory })
    for _, name in ipairs(fs.readdirSync(directory)) do read(directory .. "/" .. name) end
  end)

  teardown(function() fs.rmSync(directory, { recursive = true, force = true }) end)

  it("writes a file for each module, in Lua", function()
    for _, name in ipairs(modules()) do
      local path = ("%s/%s.lua"):format(directory, name)
      assert.truthy(fs.existsSync(path), name)
      assert(loadfile(path))
      assert.truthy(fs.readFileSync(path):find("---@meta " .. name, 1, true))
    end
  end)

  it("knows all that the modules hold", function()
    local missing = {}
    for _, name in ipairs(modules()) do
      for key in pairs(require(name)) do
        if isForUsers(name, key) and not knows(name, key) then missing[#missing + 1] = name .. "." .. key end
      end
    end
    report(missing, "names of modules have no type")
  end)

  it("knows the methods and computed fields of the classes", function()
    local missing = {}
    for name, class in pairs(runtimeClasses()) do
      for key, value in pairs(class) do
        local isMember = type(value) == "function" and isPublic(key) and key ~= "initialize"
        if isMember and not knows(name, key) then missing[#missing + 1] = name .. ":" .. key end
      end
      for key in pairs(rawget(class, "__getters") or {}) do
        if isPublic(key) and not knows(name, key) then missing[#missing + 1] = name .. "." .. key end
      end
    end
    report(missing, "members of classes have no type")
  end)

  it("says of each function what it does and what it takes", function()
    local poor = {}
    for owner, each in pairs(types) do
      for name, member in pairs(each.members) do
        if type(member) == "table" then
          local text = table.concat(member.comment, "\n")
          if not text:find("%-%-%-") then poor[#poor + 1] = ("%s.%s: nothing"):format(owner, name) end
          for argument in member.arguments:gmatch("[%w_]+") do
            if not text:find("@param " .. argument .. "%f[^%w_]") then
              poor[#poor + 1] = ("%s.%s: no word on %s"):format(owner, name, argument)
            end
          end
        end
      end
    end
    report(poor, "gaps")
  end)

  it("knows events that the pages name, and what their listeners get", function()
    local pages, missing, count = {}, {}, 0
    for _, name in ipairs(fs.readdirSync("docs")) do
      if name:find("%.md$") then pages[#pages + 1] = fs.readFileSync("docs/" .. name) end
    end
    local all = table.concat(pages, "\n")
    for _, name in ipairs(fs.readdirSync(directory)) do
      local text = fs.readFileSync(directory .. "/" .. name)
      for event, arguments in text:gmatch("\n%-%-%- Event (%w+)(%b())") do
        count = count + 1
        local overload = ('name: "%s", listener: fun%s)'):format(event, arguments)
        if not text:find(overload, 1, true) then missing[#missing + 1] = ("%s: no overload for %s"):format(name, event) end
        if not all:find("`" .. event .. "[` ]") then missing[#missing + 1] = ("%s: no page names %s"):format(name, event) end
      end
    end
    assert.is_true(count > 60)
    report(missing, "events")
  end)

  it("names only types that are there", function()
    local unknown = {}
    for _, name in ipairs(fs.readdirSync(directory)) do
      for line in io.lines(directory .. "/" .. name) do
        local tag, kind = line:match("^%-%-%-@(%w+)%s+(.*)$")
        if tag == "param" or tag == "field" then kind = kind:match("^%S+%s+(.*)$") elseif tag ~= "return" then kind = "" end
        -- The type ends where prose begins: at the first space outside of brackets that no type goes on behind.
        kind = kind and kind:gsub('"[^"]*"', "true"):match("^[%w_.|?%[%]%(%){}:,<> -]*") or ""
        local first = kind:match("^(%b())") or kind:match("^(fun%b()[^%s]*)") or kind:match("^(%b{})") or kind:match("^[^%s]+") or ""
        for word in first:gsub("[%w_]+%??:", ""):gmatch("[%a_][%w_.]*") do
          if not BUILT_IN[word] and not types[word] then unknown[#unknown + 1] = ("%s: %s in %s"):format(name, word, line) end
        end
      end
    end
    report(unknown, "unknown types")
  end)
end)
