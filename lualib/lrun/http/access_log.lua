--- The access log of a server: an entry for each response, once it was sent or its connection is gone. Its responses are of
--- a class of their own, which counts the body's bytes; other servers pay nothing.
local core = require("lrun.core.http")
local process = require("process")

local accessLog = {}

---@class AccessLogEntry
---@field method string
---@field url string the target as it came
---@field status integer
---@field bytes integer of the body, as the program wrote it
---@field duration number ms from the head of the request to the end of the response
---@field remoteAddress string? of a TCP client
---@field aborted true? the client left, or the response was destroyed, before all was sent

local function entryOf(res, start, bytes, address)
  local req = res.req
  return {
    method = req.method, url = req.url, status = res.statusCode, bytes = bytes,
    duration = math.floor((process.hrtime() - start) / 1e3) / 1e3, remoteAddress = address,
    aborted = not res.writableFinished or nil,
  }
end

local function toLog(entry)
  require("log").info(("%s %s %d"):format(entry.method, entry.url, entry.status), entry)
end

--- A class of responses that write entries.
---@param base table ServerResponse, or a class of the program's that extends it
---@param log true|fun(entry: AccessLogEntry, req: IncomingMessage, res: ServerResponse) true for the module `log`
---@return table class
function accessLog.class(base, log)
  local class = base:extend(base.name)
  local write = log == true and toLog or log

  function class:write(chunk, ...)
    if type(chunk) == "string" and type(self) == "table" and self.writable then self._logged.bytes = self._logged.bytes + #chunk end
    return base.write(self, chunk, ...)
  end

  function class:finish(chunk, ...)
    if type(chunk) == "string" and type(self) == "table" and self.writable then self._logged.bytes = self._logged.bytes + #chunk end
    return base.finish(self, chunk, ...)
  end

  --- A file is sent with its bytes counted.
  function class._tryFile() return false end
  function class:_sendJob(job, ...)
    local status, _, bytes = core.fileJudge(job, select(2, ...))
    if not (self._special and status == 200) then self._logged.bytes = self._logged.bytes + bytes end
    return base._sendJob(self, job, ...)
  end

  --- A request came: its response is to be written down.
  function class:_begin()
    local start, address = process.hrtime(), self.req.socket.remoteAddress
    self._logged = { bytes = 0 }
    self:on("close", function() write(entryOf(self, start, self._logged.bytes, address), self.req, self) end)
  end

  return class
end

return accessLog
