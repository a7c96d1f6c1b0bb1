--- In which order apps that are `after` others start, and end. Plain values in and out.
local order = {}

--- Apps in waves: each wave may start together, once those before it are ready. A circle is broken at its last.
---@generic T: { name: string, after: string[] }
---@param apps T[]
---@return T[][]
function order.waves(apps)
  local byName, depth, open = {}, {}, {}
  for _, each in ipairs(apps) do byName[each.name] = each end
  local function depthOf(each)
    if depth[each] then return depth[each] end
    if open[each] then return 0 end
    open[each] = true
    local deepest = 1
    for _, name in ipairs(each.after or {}) do
      local before = byName[name]
      if before then deepest = math.max(deepest, depthOf(before) + 1) end
    end
    open[each] = nil
    depth[each] = deepest
    return deepest
  end
  local waves = {}
  for _, each in ipairs(apps) do
    local level = depthOf(each)
    for i = #waves + 1, level do waves[i] = {} end
    table.insert(waves[level], each)
  end
  for i = #waves, 1, -1 do if #waves[i] == 0 then table.remove(waves, i) end end
  return waves
end

--- The same, the last first: how they end.
function order.reversed(apps)
  local waves, turned = order.waves(apps), {}
  for i = #waves, 1, -1 do turned[#turned + 1] = waves[i] end
  return turned
end

return order
