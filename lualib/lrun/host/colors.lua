--- Whether what is written to a descriptor may have colours: on a terminal that knows some, unless NO_COLOR is set.
local uv = require("luv")

local colors = {}

---@param fd integer
---@return boolean
function colors.wanted(fd)
  local none, term = os.getenv("NO_COLOR"), os.getenv("TERM") or "dumb"
  return uv.guess_handle(fd) == "tty" and term ~= "dumb" and (none or "") == ""
end

return colors
