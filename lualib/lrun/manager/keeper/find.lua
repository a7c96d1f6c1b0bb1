--- A command's file, as a shell would find it.
local uv = require("luv")

local function runs(file)
  local stat = uv.fs_stat(file)
  return stat and stat.type == "file" and uv.fs_access(file, "X") and file or nil
end

---@param command string with a slash, a path
---@param path string? PATH
---@return string?
return function(command, path)
  if command:find("/", 1, true) then return runs(command) end
  for folder in (path or "/usr/local/bin:/usr/bin:/bin"):gmatch("[^:]+") do
    local found = runs(folder .. "/" .. command)
    if found then return found end
  end
end
