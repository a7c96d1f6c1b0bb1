--- A file whose bytes do not go as they are: a coder is between them and the client (lrun.http.compressed_response), or trailers
--- follow. It is read and written as a stream.
local core = require("lrun.core.http")
local errors = require("errors")
local stream = require("stream")

local piped = {}

-- The fields that C would have sent.
local function setFields(res, job, ...)
  for name, value in core.fileFields(job, ...):gmatch("([^:\r\n]+): ([^\r\n]*)\r\n") do res:setHeader(name, value) end
end

local function truncated() return errors.coded("ERR_FILE_TRUNCATED", "The file became shorter while it was sent") end

--- Answers with the whole file.
---@param res ServerResponse
---@param job userdata
---@param callback fun(err: Error?)?
function piped.send(res, job, callback, ...)
  setFields(res, job, ...)
  local size = select(5, core.fileFacts(job))
  local fd = core.fileTake(job)
  core.fileClose(job)
  if fd < 0 then return res:finish(callback) end
  local file = require("fs").createReadStream(nil, { fd = fd, start = 0, finish = size - 1 })
  file:on("end", function()
    if file.bytesRead < size then res:destroy(truncated()) end
  end)
  stream.pipeline(file, res, function(err)
    if err and not res.destroyed then res:destroy() end
    if callback then callback(err) end
  end)
end

return piped
