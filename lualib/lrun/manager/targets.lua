--- Which apps a TARGET means: a name, `namespace/`, a pattern with `*`, `#ID` or a number (a name that is a number wins),
--- `all`. Plain values in and out.
local targets = {}

local function escape(text) return (text:gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", "%%%0")) end

-- `*` is any run of characters; nothing else is special.
local function pattern(target)
  local parts = {}
  for part in (target .. "*"):gmatch("([^*]*)%*") do parts[#parts + 1] = escape(part) end
  return "^" .. table.concat(parts, ".*") .. "$"
end

local function where(apps, test)
  local found = {}
  for _, app in ipairs(apps) do if test(app) then found[#found + 1] = app end end
  return found
end

--- The apps that one target means.
---@generic T: { id: integer, name: string, namespace: string }
---@param apps T[]
---@param target string
---@return T[]
function targets.match(apps, target)
  target = tostring(target)
  if target == "all" then return where(apps, function() return true end) end
  local named = where(apps, function(app) return app.name == target end)
  if #named > 0 then return named end
  local id = tonumber(target:match("^#?(%d+)$"))
  if id then return where(apps, function(app) return app.id == id end) end
  local namespace = target:match("^(.+)/$")
  if namespace then return where(apps, function(app) return app.namespace == namespace end) end
  if not target:find("*", 1, true) then return {} end
  local wanted = pattern(target)
  return where(apps, function(app) return app.name:find(wanted) ~= nil end)
end

--- The apps that several targets mean, each once, in order of their ids.
---@generic T: { id: integer, name: string, namespace: string }
---@param apps T[]
---@param list string[]
---@return T[]? found nil when one of them means nothing; `all` may mean nothing
---@return string? unknown that target
function targets.select(apps, list)
  local chosen, found = {}, {}
  for _, target in ipairs(list) do
    local matches = targets.match(apps, target)
    if #matches == 0 and target ~= "all" then return nil, tostring(target) end
    for _, app in ipairs(matches) do
      if not chosen[app] then
        chosen[app] = true
        found[#found + 1] = app
      end
    end
  end
  table.sort(found, function(a, b) return a.id < b.id end)
  return found
end

return targets
