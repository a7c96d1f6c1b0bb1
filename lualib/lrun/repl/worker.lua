--- What a cluster worker runs that was forked at the prompt, where there is no script: a string that it is sent is Lua code,
--- whose values it sends back; anything else it sends back as it came.
local worker = {
  atPrompt = false,                 -- set by the prompt
  loaded = {},                      -- files that .load has run here
}

-- The file that .load has run and whose code calls this, if any.
local function loadedCaller()
  local level, info = 2, debug.getinfo(2, "S")
  while info do
    local path = info.source:match("^@(.*)$")
    if path and worker.loaded[path] then return path end
    level = level + 1
    info = debug.getinfo(level, "S")
  end
end

--- What `cluster.fork` runs when there is no script. A file that was loaded at the prompt is none that workers could run.
---@return string?
function worker.script()
  if not worker.atPrompt then return nil end
  local path = loadedCaller()
  if path then
    error(require("errors").coded("ERR_INVALID_STATE",
      ("%s forks workers, which would run the prompt's script, and there is none: leave, and type  lrun -i %s"):format(path, path)), 0)
  end
  return "lrun:worker"
end

local function evaluate(code)
  local chunk, err = loadstring("return " .. code, "=message")
  if not chunk then chunk, err = loadstring(code, "=message") end
  if not chunk then return err end
  return chunk()
end

-- Values that cannot be sent go as text.
local function answer(...)
  for i = 1, select("#", ...) do
    local value = (select(i, ...))
    if not pcall(process.send, value) then process.send(require("inspect").inspect(value)) end
  end
end

function worker.run()
  process:on("message", function(message)
    if type(message) ~= "string" then return answer(message) end
    answer(select(2, pcall(evaluate, message)))
  end)
end

return worker
