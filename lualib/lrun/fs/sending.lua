--- What became of a range of a file that was to be sent, as the error that streams tell.
local errors = require("errors")

local sending = {}

--- `ERR_FILE_TRUNCATED`: the file has become shorter than what was promised of it.
---@param code integer negative errno
---@return Error
function sending.errorOf(code)
  local err = errors.system(code, "sendfile")
  if err.code ~= "EOF" then return err end
  return errors.coded("ERR_FILE_TRUNCATED", "The file became shorter while it was sent")
end

return sending
