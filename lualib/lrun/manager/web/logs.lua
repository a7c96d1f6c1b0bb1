--- Lines of logs for the page: the last ones, then what comes, for one reader. Owns the open files of that reader until `stop`.
local uv = require("luv")
local files = require("lrun.manager.cli.logs")
local lines = require("lrun.manager.lines")

local FIRST = 200               -- lines
local EVERY = 300               -- ms

local logs = {}

--- Follows the logs of apps.
---@param documents table[] as `show` tells them
---@param write fun(entry: table)
---@return fun() stop
function logs.follow(documents, write)
  local sources = files.sourcesOf(documents, {})
  local function onLine(source, line) write(files.entryOf(source, line)) end
  for _, source in ipairs(sources) do
    for _, line in ipairs(files.tailOf(source, FIRST)) do onLine(source, line) end
    source.cutter = lines.cutter()
  end
  local timer = uv.new_timer()
  timer:start(EVERY, EVERY, function()
    for _, source in ipairs(sources) do files.look(source, onLine) end
  end)
  return function()
    if not timer:is_closing() then timer:close() end
    for _, source in ipairs(sources) do
      if source.fd then uv.fs_close(source.fd) end
      source.fd = nil
    end
  end
end

return logs
