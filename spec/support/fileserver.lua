--- For specs of answers that are files: a folder of the test's own, a server, and requests as they are on the wire.
local fs = require("fs")
local rawhttp = require("spec.support.rawhttp")
local servers = require("spec.support.servers")

local fileserver = {}

--- Makes a folder of a table: names to texts, or to tables for folders.
function fileserver.folder(tree, path)
  path = path or fs.realpathSync(fs.mkdtempSync("/tmp/lrun-files-"))
  for name, what in pairs(tree) do
    local each = path .. "/" .. name
    if type(what) == "table" then
      fs.mkdirSync(each)
      fileserver.folder(what, each)
    else
      fs.writeFileSync(each, what)
    end
  end
  return path
end

--- The status, headers by lower-case name and body of a response's bytes; `complete` is false where the body is too short.
function fileserver.parse(bytes, method)
  local head, rest = bytes:match("^(HTTP/1%.1 .-\r\n)\r\n(.*)$")
  if not head then return nil end
  local response = { status = tonumber(head:match("^HTTP/1%.1 (%d+)")), headers = {}, body = rest, complete = true }
  for name, value in head:gmatch("\r\n([^:\r\n]+): ([^\r\n]*)") do response.headers[name:lower()] = value end
  local length = tonumber(response.headers["content-length"])
  if length and method ~= "HEAD" then response.complete = #rest == length end
  return response
end

--- One request on a connection of its own.
---@param port integer
---@param target string
---@param headers string[]? lines
---@param method string?
function fileserver.ask(port, target, headers, method)
  method = method or "GET"
  local lines = { method .. " " .. target .. " HTTP/1.1", "Host: x", "Connection: close", unpack(headers or {}) }
  local bytes = rawhttp.exchange(port, table.concat(lines, "\r\n") .. "\r\n\r\n", { timeout = 20000 })
  return fileserver.parse(bytes, method)
end

--- Serves with a handler; returns a function that asks it, and the port.
function fileserver.serve(handler)
  local port = servers.serve(handler)
  return function(...) return fileserver.ask(port, ...) end, port
end

--- How many descriptors this process has.
function fileserver.descriptors() return #fs.readdirSync("/proc/self/fd") end

return fileserver
