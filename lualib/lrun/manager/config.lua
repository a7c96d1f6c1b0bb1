--- Configurations: which word names one, and the apps that it holds, as they were written. A Lua file is run here, a JavaScript one by
--- node; both by the command line, never by the daemon. Throws { usage = text } for what cannot be read.
local fields = require("lrun.manager.fields")
local nearest = require("lrun.manager.nearest")

local config = {}

local function fail(text, ...) error({ usage = text:format(...) }, 0) end

-- What `apply` looks for when it is given nothing.
config.DEFAULTS = { "lrun.config.lua", "lrun.config.json", "ecosystem.config.js", "ecosystem.config.cjs", "ecosystem.json" }

--- Whether a word names a configuration.
---@param word string
---@return boolean
function config.isName(word)
  return word == "-" or word:find("%.json$") ~= nil or word:find("%.config%.lua$") ~= nil or word:find("%.config%.js$") ~= nil
    or word:find("%.config%.cjs$") ~= nil
end

local function readAll(path)
  local uv = require("luv")
  local stat = uv.fs_stat(path)
  if not stat then fail("%s: no such file", path) end
  if stat.type == "directory" then fail("%s: it is a directory", path) end
  local file, reason = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  if not text then fail("%s: %s", path, tostring(reason):gsub("^.-: ", "")) end
  return text
end

local function fromJson(text, label)
  local ok, value = pcall(require("json").decode, text)
  if not ok then fail("%s: %s", label, tostring(value)) end
  return value
end

local function fromLua(path)
  local text = readAll(path):gsub("^#![^\n]*", "")
  local chunk, problem = loadstring(text, "@" .. path)
  if not chunk then fail("%s", problem) end
  local ok, value = xpcall(chunk, function(err)
    return type(err) == "string" and err or tostring(err)
  end)
  if not ok then fail("%s", value:find(path, 1, true) and value or path .. ": " .. value) end
  return value
end

local READER = "const c = require(process.argv[1]); process.stdout.write(JSON.stringify(c.default || c))"

local function fromJavaScript(path)
  readAll(path)
  local result = require("child_process").spawnSync("node", { "-e", READER, path }, { maxBuffer = 64 * 1024 * 1024, timeout = 30000 })
  if result.error then
    local missing = result.error.code == "ENOENT"
    fail("%s: %s", path, missing and "needs node, which is not installed" or tostring(result.error))
  end
  if result.status ~= 0 then
    local text = (result.stderr or ""):match("\n(%w*Error: [^\n]*)") or (result.stderr or ""):match("[^\n]+") or "node failed"
    local line = (result.stderr or ""):match("^[^\n]*:(%d+)\n")
    fail("%s%s: %s", path, line and ":" .. line or "", text)
  end
  return fromJson(result.stdout, path)
end

-- The list of apps in what a configuration returned.
local function appsOf(value, label, warn)
  if type(value) ~= "table" then fail("%s: a configuration is a table { apps = { … } }, not a %s", label, type(value)) end
  if value.apps == nil then
    if value.script or value.command then return { value } end
    if #value > 0 then return value end
    local key = next(value)
    local hint = type(key) == "string" and nearest.name(key, { "apps" })
    fail("%s: has no 'apps'%s", label, hint and (" (it has '%s')"):format(key) or "")
  end
  for key in pairs(value) do
    if key ~= "apps" then
      if key == "deploy" then warn(("%s: 'deploy' means nothing here and is ignored"):format(label))
      else fail("%s: unknown key '%s'%s", label, tostring(key), nearest.hint(tostring(key), { "apps" })) end
    end
  end
  local apps = value.apps
  if type(apps) ~= "table" then fail("%s: 'apps' has to be a list", label) end
  if #apps == 0 and next(apps) ~= nil then apps = { apps } end
  return apps
end

--- Reads a configuration.
---@param word string a path, or "-"
---@param options { cwd: string, resolve: fun(folder: string, path: string): string, warn: fun(text: string), input: (fun(): string)? }
---@return { raw: table[], label: string, folder: string }
function config.read(word, options)
  local value, label, folder
  if word == "-" then
    label, folder = "standard input", options.cwd
    value = fromJson(options.input(), label)
  else
    local path = options.resolve(options.cwd, word)
    label, folder = word, path:match("^(.*)/[^/]*$")
    if folder == "" then folder = "/" end
    if word:find("%.lua$") then value = fromLua(path)
    elseif word:find("%.c?js$") then value = fromJavaScript(path)
    else value = fromJson(readAll(path), label) end
  end
  local apps = appsOf(value, label, options.warn)
  for i, each in ipairs(apps) do
    if type(each) ~= "table" then fail("%s: app %d is no table of fields", label, i) end
  end
  return { raw = apps, label = label, folder = folder }
end

--- What errors about one of its apps begin with.
function config.label(read, raw, i)
  local name = type(raw.name) == "string" and raw.name or type(raw.script) == "string" and raw.script
  return name and ("%s: app '%s'"):format(read.label, name) or ("%s: app %d"):format(read.label, i)
end

config.fieldHint = fields.hint

return config
