--- Certificate files that change: when both files can be read and fit, the server gets a context of them. In a cluster the
--- primary watches for all workers and sends what it has read (lrun.tls.tickets).
---
--- The folders are watched, since files are mostly renamed into place, and behind a link the file's own folder, too. A
--- pair that is half written is looked at again a second later; what is wrong then is told once, and the old one stays.
local process = require("process")
local uv = require("luv")

local watch = {}

local SETTLE, RETRY = 50, 1000      -- ms after an event; before a pair that does not fit is reported

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  return text
end

local function folderOf(path) return path:match("^(.*)/[^/]*$") or "." end

-- The folders in which a change may be one of the file.
local function foldersOf(paths)
  local seen, list = {}, {}
  for _, path in ipairs(paths) do
    for _, each in ipairs{ path, uv.fs_realpath(path) or path } do
      local folder = folderOf(each)
      if folder == "" then folder = "/" end
      if not seen[folder] then
        seen[folder] = true
        list[#list + 1] = folder
      end
    end
  end
  return list
end

--- The texts of both; nil when one cannot be read.
---@return { cert: string, key: string }?
function watch.read(certFile, keyFile)
  local cert, key = read(certFile), read(keyFile)
  return cert and key and { cert = cert, key = key } or nil
end

--- Watches two files and calls `onChange(cert, key)` with their texts when these have become others. `onChange` returns an
--- error when they cannot be used. Keeps no process alive.
---@param certFile string
---@param keyFile string
---@param onChange fun(cert: string, key: string): any
---@return fun() stop
function watch.files(certFile, keyFile, onChange)
  local lastCert, lastKey = read(certFile), read(keyFile)
  local timer = uv.new_timer()
  uv.unref(timer)
  local watchers, stopped, tries = {}, false, 0
  local look

  local function lookIn(ms)
    if not stopped then uv.timer_start(timer, ms, 0, look) end
  end

  local function unusable(err)
    tries = tries + 1
    if tries == 1 then return lookIn(RETRY) end
    process.emitWarning(("%s and %s have changed and cannot be used, the certificate before stays in use: %s"):format(
      certFile, keyFile, tostring(err)), "CertificateWarning")
  end

  function look()
    local cert, key = read(certFile), read(keyFile)
    if not cert or not key then return unusable("they cannot be read") end
    if cert == lastCert and key == lastKey then return end
    local err = onChange(cert, key)
    if err ~= nil then return unusable(err) end
    lastCert, lastKey, tries = cert, key, 0
  end

  for _, folder in ipairs(foldersOf{ certFile, keyFile }) do
    local handle = uv.new_fs_event()
    local ok = uv.fs_event_start(handle, folder, {}, function()
      tries = 0
      lookIn(SETTLE)
    end)
    uv.unref(handle)
    watchers[#watchers + 1] = handle
    if not ok then
      process.emitWarning(("the folder %s cannot be watched for certificates"):format(folder), "CertificateWarning")
    end
  end

  return function()
    if stopped then return end
    stopped = true
    uv.close(timer)
    for _, handle in ipairs(watchers) do uv.close(handle) end
  end
end

--- Sets the server's context anew whenever its files change, until it has closed.
---@param server TLSServer
---@param given table its options
function watch.follow(server, given)
  local function onChange(cert, key)
    local own = {}
    for name, value in pairs(given) do own[name] = value end
    own.certFile, own.keyFile, own.watch, own.cert, own.key = nil, nil, nil, cert, key
    local ok, err = pcall(server.setSecureContext, server, own)
    return not ok and err or nil
  end
  local last = watch.read(given.certFile, given.keyFile)
  local function fromPrimary(cert, key)
    if last and last.cert == cert and last.key == key then return end
    last = { cert = cert, key = key }
    local err = onChange(cert, key)
    if err ~= nil then process.emitWarning(tostring(err), "CertificateWarning") end
  end
  local stop = require("lrun.tls.tickets").watch(given.certFile, given.keyFile, given.passphrase, fromPrimary)
    or watch.files(given.certFile, given.keyFile, onChange)
  server:on("close", stop)
end

return watch
