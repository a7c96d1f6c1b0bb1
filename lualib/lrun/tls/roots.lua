--- Lists: the system's authorities, and the ciphers that OpenSSL has.
local core = require("lrun.core.tls")
local uv = require("luv")

local roots = {}

local BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"

local function addFrom(list, seen, path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a") or ""
  if file then file:close() end
  local at = 1
  while true do
    local from = text:find(BEGIN, at, true)
    local _, to = text:find(END, from or #text + 1, true)
    if not to then return end
    local pem = text:sub(from, to) .. "\n"
    if not seen[pem] then
      seen[pem] = true
      list[#list + 1] = pem
    end
    at = to + 1
  end
end

local function addFromDirectory(list, seen, path)
  local scan = uv.fs_scandir(path)
  while scan do
    local name = uv.fs_scandir_next(scan)
    if not name then return end
    if name:find("^%x%x%x%x%x%x%x%x%.%d") then addFrom(list, seen, path .. "/" .. name) end
  end
end

--- The certificates of the system's store; SSL_CERT_FILE and SSL_CERT_DIR take its place.
---@return string[]
function roots.list()
  local list, seen = {}, {}
  local file, directory = os.getenv("SSL_CERT_FILE"), os.getenv("SSL_CERT_DIR")
  local usualDirectory, usualFile = core.defaultStore()
  if not file and not directory then file, directory = usualFile, usualDirectory end
  if file then addFrom(list, seen, file) end
  if directory then addFromDirectory(list, seen, directory) end
  return list
end

--- All ciphers, TLS 1.3's first.
---@return string[]
function roots.ciphers()
  local c = core.newContext(0, 0)
  c:ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0", "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"
    .. ":TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256")
  local names = c:cipherNames()
  for i, name in ipairs(names) do names[i] = name:lower() end
  return names
end

return roots
