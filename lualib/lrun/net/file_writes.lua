--- A range of a file as a write of a socket's: the kernel moves the bytes, which never become a string (lrun.fs.pieces asks for
--- it). `_writeFile` → what goes at once by `sendfile.now` → of the rest one piece by `sendfile.send`, which waits its turn among
--- the socket's writes with a descriptor of its own. The method is net.Socket's (lrun.net.socket), which installs it.
local sendfile = require("lrun.core.sendfile")

-- A range of a file that waits, by a descriptor of its own; nil where none is left.
local function writeFile(self, handle, fd, offset, length)
  local files = require("lrun.core.files")
  local own = files.hold(fd)
  return own and self:_writeOther(length, function(callback)
    local function sent(code, bytes)
      files.release(own)
      self._sending = nil
      self._written = self._written + bytes
      if self._idle then self._idle:touch() end
      callback(code and require("lrun.fs.sending").errorOf(code) or nil)
    end
    if self._idle then self._idle:touch() end
    local sending, code, bytes = sendfile.send(handle, own, offset, length, sent)
    if type(sending) == "userdata" then self._sending = sending else sent(code, sending or bytes) end
  end)
end

---@param Socket table
return function(Socket)
  --- Internal: nil where the socket is not the kernel's own, as over TLS, or others wait before it: then the range is to be read
  --- and written. What goes at once is taken, and no more than a piece of the rest.
  ---@param fd integer
  ---@param offset integer
  ---@param length integer
  ---@param piece integer bytes
  ---@return boolean? more as `write`
  ---@return integer taken
  function Socket:_writeFile(fd, offset, length, piece)
    local handle = self._handle
    if self.connecting or not handle or not sendfile.takes(handle) or not self:_isFree() then return nil, 0 end
    local now = sendfile.now(handle, fd, offset, length)
    if now > 0 then
      self._written = self._written + now
      if self._idle then self._idle:touch() end
    end
    local rest = math.min(length - now, piece)
    if rest == 0 then return true, now end
    local more = writeFile(self, handle, fd, offset + now, rest)
    if more == nil then return now > 0 or nil, now end
    return more, now + rest
  end
end
