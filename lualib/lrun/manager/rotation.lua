--- Which names a log file and its older ones have. Plain values in and out.
---   app-out.log        what is written now
---   app-out.log.1      the one before, .2 the one before that, up to logKeep
local rotation = {}

--- The renames, in order, that make room for a new file; the first may be a removal (`to` is nil).
---@param path string
---@param keep integer how many old ones stay
---@param exists fun(path: string): boolean
---@return { from: string, to: string? }[]
function rotation.steps(path, keep, exists)
  if keep < 1 then return { { from = path } } end
  local steps, last = {}, 0
  while last < keep and exists(("%s.%d"):format(path, last + 1)) do last = last + 1 end
  if last == keep then
    steps[1] = { from = ("%s.%d"):format(path, keep) }
    last = keep - 1
  end
  for number = last, 1, -1 do
    steps[#steps + 1] = { from = ("%s.%d"):format(path, number), to = ("%s.%d"):format(path, number + 1) }
  end
  steps[#steps + 1] = { from = path, to = path .. ".1" }
  return steps
end

--- How much of whole lines still fits into a file; at least one line where the file is empty.
---@param text string lines, each with its newline
---@param from integer where the first of them begins
---@param size integer bytes that the file has
---@param limit integer
---@return integer stop the last byte that fits; from - 1 when nothing does
function rotation.fit(text, from, size, limit)
  local room = limit - size
  if #text - from + 1 <= room then return #text end
  local stop = from - 1
  while true do
    local newline = text:find("\n", stop + 1, true) or #text
    if newline - from + 1 > room then break end
    stop = newline
    if stop >= #text then break end
  end
  if stop < from and size == 0 then stop = text:find("\n", from, true) or #text end
  return stop
end

return rotation
