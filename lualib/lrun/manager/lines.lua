--- Pieces of a stream → whole lines. A line that has no end in sight is cut at a limit. Plain values in and out.
local lines = {}

lines.MAX = 1024 * 1024       -- bytes of one line

---@class LineCutter
---@field feed fun(data: string): string? whole lines, each with its newline
---@field rest fun(): string? what is left at the end, with a newline

--- Makes a cutter.
---@param limit integer?
---@return LineCutter
function lines.cutter(limit)
  limit = limit or lines.MAX
  local parts, length = {}, 0
  local cutter = {}

  local function take(data)
    parts[#parts + 1] = data
    local text = #parts == 1 and parts[1] or table.concat(parts)
    parts, length = {}, 0
    return text
  end

  -- Cuts lines that are too long; `text` ends with a newline.
  local function wholeLines(text)
    if #text <= limit then return text end
    local out, at = {}, 1
    while at <= #text do
      local stop = text:find("\n", at, true)
      while stop - at > limit do
        out[#out + 1] = text:sub(at, at + limit - 1) .. "\n"
        at = at + limit
      end
      out[#out + 1] = text:sub(at, stop)
      at = stop + 1
    end
    return table.concat(out)
  end

  function cutter.feed(data)
    local newline = data:match("^.*()\n")
    if not newline then
      parts[#parts + 1] = data
      length = length + #data
      if length < limit then return nil end
      local text = take("")
      local keep = #text % limit
      local whole = wholeLines(text:sub(1, #text - keep) .. "\n")
      if keep > 0 then parts, length = { text:sub(-keep) }, keep end
      return whole
    end
    local whole = wholeLines(take(newline == #data and data or data:sub(1, newline)))
    if newline < #data then
      parts[1] = data:sub(newline + 1)
      length = #data - newline
    end
    return whole
  end

  function cutter.rest()
    if length == 0 then return nil end
    return take("") .. "\n"
  end

  return cutter
end

return lines
