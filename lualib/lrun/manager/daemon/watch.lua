--- Restarts when files change: the folders of an app are watched, what does not count is left out, and changes within `watchDelay` are
--- one. Owns one handle a folder.
local uv = require("luv")

local MAX_FOLDERS = 4096

local PATIENCE = 5              -- times watchDelay: the longest that changes in a row put a restart off

local watch = {}

local watches = {}              -- entry → { folders = path → handle, timer, count }

local ALWAYS = { node_modules = true }

-- `dir`, `dir/`, `*.txt`, `a/b.lua` as a test of a path relative to the root.
local function matcher(pattern)
  pattern = pattern:gsub("^%./", ""):gsub("/+$", "")
  local escaped = pattern:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*%*", "\1"):gsub("%*", "[^/]*"):gsub("\1", ".*")
  return function(path, name)
    return path:find("^" .. escaped .. "$") ~= nil or path:find("^" .. escaped .. "/") ~= nil
      or name:find("^" .. escaped .. "$") ~= nil or path:find("/" .. escaped .. "/") ~= nil
  end
end

--- Whether a changed file counts. Pure.
---@param options { root: string, ignore: string[], logs: string[] } `logs`: absolute paths of files and folders
---that do not count: the app's logs, what changes in LRUN_HOME
---@return fun(path: string): boolean absolute path → counts
function watch.filter(options)
  local tests = {}
  for i, pattern in ipairs(options.ignore) do
    if pattern:sub(1, #options.root + 1) == options.root .. "/" then pattern = pattern:sub(#options.root + 2) end
    tests[i] = matcher(pattern)
  end
  return function(path)
    if path:sub(1, #options.root + 1) ~= options.root .. "/" then return false end
    for _, log in ipairs(options.logs) do
      local behind = path:sub(1, #log) == log and path:sub(#log + 1, #log + 1)
      if behind == "" or behind == "." or behind == "/" then return false end
    end
    local relative = path:sub(#options.root + 2)
    local name = relative:match("[^/]*$")
    for part in relative:gmatch("[^/]+") do
      if part:sub(1, 1) == "." or ALWAYS[part] then return false end
    end
    if name:find("~$") or name:find("^#.*#$") or name:find("%.sw[a-z]$") then return false end
    for _, test in ipairs(tests) do if test(relative, name) then return false end end
    return true
  end
end

local function closeAll(state)
  for _, handle in pairs(state.folders) do if not handle:is_closing() then handle:close() end end
  if state.timer and not state.timer:is_closing() then state.timer:close() end
end

local follow

local function changed(state, path)
  if not state.counts(path) then return end
  local stat = uv.fs_stat(path)
  if stat and stat.type == "directory" then return follow(state, path) end
  -- Changes that go on and on are not waited out for ever.
  local now = uv.now()
  state.since = state.since or now
  local left = math.min(state.delay, state.since + state.delay * PATIENCE - now)
  state.timer:start(math.max(1, left), 0, function()
    state.since = nil
    state.fire()
  end)
end

function follow(state, folder)
  if state.folders[folder] or state.count >= MAX_FOLDERS then return end
  local handle = uv.new_fs_event()
  local ok = handle:start(folder, {}, function(err, name)
    if err or not name then return end
    changed(state, folder .. "/" .. name)
  end)
  if not ok then return handle:close() end
  state.folders[folder], state.count = handle, state.count + 1
  local scan = uv.fs_scandir(folder)
  while scan do
    local name, kind = uv.fs_scandir_next(scan)
    if not name then break end
    if kind == "directory" and state.counts(folder .. "/" .. name) then follow(state, folder .. "/" .. name) end
  end
end

-- Single files are watched by their folder.
local function roots(app)
  if app.watch == true then return { app.cwd } end
  local list = {}
  for i, path in ipairs(app.watch) do
    if path:sub(1, 1) ~= "/" then path = app.cwd .. "/" .. path:gsub("^%./", "") end
    list[i] = (path:gsub("/+$", ""))
  end
  return list
end

local function begin(entry, logs, fire)
  local app = entry.record.app
  local state = { folders = {}, count = 0, delay = math.max(1, app.watchDelay), timer = uv.new_timer(), fire = fire }
  for _, root in ipairs(roots(app)) do
    local stat = uv.fs_stat(root)
    local folder = stat and stat.type == "directory" and root or root:match("^(.*)/[^/]*$")
    local counts = watch.filter{ root = folder, ignore = app.ignoreWatch, logs = logs }
    if folder ~= root then
      local inner = counts
      counts = function(path) return path == root and inner(path) end
    end
    local before = state.counts
    state.counts = before and function(path) return before(path) or counts(path) end or counts
    follow(state, folder)
  end
  watches[entry] = state
end

--- The app is to be watched, or not any more, or differently.
---@param entry table
---@param wanted boolean
---@param logs string[]
---@param fire fun()
function watch.update(entry, wanted, logs, fire)
  local app = entry.record.app
  local key = wanted and app.watch and require("json").encode{ app.watch, app.cwd, app.ignoreWatch, app.watchDelay, logs } or nil
  if entry.watchKey == key then return end
  entry.watchKey = key
  if watches[entry] then closeAll(watches[entry]) end
  watches[entry] = nil
  if key then begin(entry, logs, fire) end
end

return watch
