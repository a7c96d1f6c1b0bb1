--- What a cluster worker runs that was forked at the prompt, where there is no script: a string that it is sent is Lua code,
--- whose values it sends back; anything else it sends back as it came.
local worker = {
  path = nil,                       -- set by the prompt: what `cluster.fork` runs when there is no script
}

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
