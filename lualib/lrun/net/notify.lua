--- process.notify: tells the service manager that started this process (systemd, or whoever speaks its protocol) how it is.
--- One datagram to the socket that NOTIFY_SOCKET names.
local errors = require("errors")
local sockets = require("lrun.core.sockets")
local unix = require("lrun.core.unix")
local validate = require("lrun.check.validate")

--- Sends it.
---@param state string lines of `NAME=value`
---@return boolean sent false: nobody wants to know
---@return Error? err why it could not be sent
return function(state)
  validate.string(state, "state")
  local name = process.env.NOTIFY_SOCKET
  if name == nil or name == "" then return false end
  if name:sub(1, 1) == "@" then name = "\0" .. name:sub(2) end
  local fd, code = unix.socket("dgram")
  local ok
  if fd then
    ok, code = unix.send(name, fd, state)
    sockets.close(fd)
  end
  if ok then return true end
  return false, errors.system(code, "send", { address = name })
end
