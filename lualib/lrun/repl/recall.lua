--- Up and Down: inputs that begin with what is typed, older and newer; with nothing typed, all. What was typed comes back
--- below the newest.
local recall = {}

--- A walk through the history that a key begins, and that ends when the line is another than the one it showed.
---@param entries fun(): string[] the history, oldest first
---@param show fun(line: string) puts the line into the place of the one that is edited
---@return fun(step: integer, before: string, after: string) move -1 is older, 1 newer
function recall.new(entries, show)
  local shown, at, typed, prefix        -- of the walk

  return function(step, before, after)
    local list = entries()
    if shown ~= before .. after then
      typed, prefix, at = before .. after, before, #list + 1
      shown = typed
    end
    local from = at
    repeat from = from + step until not list[from] or list[from]:sub(1, #prefix) == prefix and list[from] ~= shown
    if list[from] then
      at, shown = from, list[from]
    elseif step > 0 then
      at, shown = #list + 1, typed
    else
      return
    end
    show(shown)
  end
end

return recall
