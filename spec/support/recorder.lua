--- Writes down which events came, in order, of requests and responses under test.
local recorder = {}

--- Listens to all that ends `req` and `res`; `list` gets lines such as "res finish".
---@param list string[]
---@param req IncomingMessage?
---@param res ServerResponse?
---@return string[] list
function recorder.watch(list, req, res)
  local function note(emitter, label, names)
    for _, name in ipairs(names) do
      emitter:on(name, function(value)
        list[#list + 1] = label .. " " .. name .. (name == "error" and " " .. tostring(value.code or value) or "")
      end)
    end
  end
  if req then note(req, "req", { "aborted", "end", "error", "close" }) end
  if res then note(res, "res", { "finish", "error", "close" }) end
  return list
end

--- How often each of them came.
---@param list string[]
---@return table<string, integer>
function recorder.counts(list)
  local counts = {}
  for _, line in ipairs(list) do counts[line] = (counts[line] or 0) + 1 end
  return counts
end

return recorder
