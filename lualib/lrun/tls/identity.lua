--- Whether a certificate is for a host: RFC 6125, with Node's reasons. Works on the tables of `getPeerCertificate`.
---
--- Names that hold commas or other unusual bytes are in quotes, as JSON writes strings; so a name cannot pass for two.
local errors = require("errors")
local ip = require("lrun.net.ip")
local validate = require("lrun.check.validate")

local identity = {}

local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

-- The JSON string that begins at `at` in `text` → its value, where it ends.
local function unquote(text, at)
  local parts, i = {}, at + 1
  while true do
    local plain, stop = text:match('^([^"\\]*)()', i)
    parts[#parts + 1] = plain
    local mark = text:sub(stop, stop)
    if mark == '"' then return table.concat(parts), stop end
    if mark == "" then return nil end
    local escape = text:sub(stop + 1, stop + 1)
    if escape == "u" then
      local number = tonumber(text:sub(stop + 2, stop + 5), 16)
      if not number or number > 255 then return nil end
      parts[#parts + 1], i = string.char(number), stop + 6
    else
      parts[#parts + 1], i = ESCAPES[escape] or escape, stop + 2
    end
  end
end

-- "DNS:a.com, IP Address:1.2.3.4" → { "DNS:a.com", "IP Address:1.2.3.4" }, with quoted values taken out of their quotes;
-- nil when a quote has no end.
local function split(text)
  local names, current, i = {}, {}, 1
  while i <= #text do
    local plain, stop = text:match('^([^",]*)()', i)
    current[#current + 1] = plain
    local mark = text:sub(stop, stop)
    if mark == '"' then
      local value, last = unquote(text, stop)
      if not value then return nil end
      current[#current + 1], i = value, last + 1
    else
      names[#names + 1] = table.concat(current)
      current, i = {}, text:match("^,? ?()", stop)
    end
  end
  if #current > 0 then names[#names + 1] = table.concat(current) end
  return names
end

local function withoutDot(name) return (name:gsub("%.$", "")) end

local function labelsOf(name)
  local labels = {}
  for label in (name .. "."):gmatch("([^.]*)%.") do labels[#labels + 1] = label end
  return labels
end

local function escaped(text) return (text:gsub("%W", "%%%0")) end

-- One `*` in the first label stands for a part of it, in no name that is punycode.
local function labelFits(host, pattern, wildcards)
  local before, after = pattern:match("^([^*]*)%*([^*]*)$")
  if not before then return not pattern:find("*", 1, true) and host == pattern end
  if not wildcards or pattern:find("xn--", 1, true) and #pattern > 1 then return false end
  return #host >= #before + #after and host:find("^" .. escaped(before) .. ".*" .. escaped(after) .. "$") ~= nil
end

-- Whether a name of the certificate is the host's, which is in small letters and has no final dot.
local function fits(host, pattern, wildcards)
  if pattern == "" or pattern:find("[^%w%.%-%*_]") then return false end
  local hostLabels, labels = labelsOf(host), labelsOf(withoutDot(pattern):lower())
  if #hostLabels ~= #labels then return false end
  for i = 2, #labels do
    if labels[i] == "" or hostLabels[i] ~= labels[i] then return false end
  end
  if labels[1] == "" then return false end
  if labels[1]:find("*", 1, true) and #labels <= 2 then return false end
  return labelFits(hostLabels[1], labels[1], wildcards)
end

-- Two spellings of one address are the same.
local function sameAddress(a, b)
  local familyA, bytesA = ip.parse(a)
  local familyB, bytesB = ip.parse(b)
  return familyA ~= 0 and familyA == familyB and bytesA == bytesB
end

local function namesOf(certificate)
  local dns, addresses = {}, {}
  local listed = certificate.subjectaltname
  for _, name in ipairs(type(listed) == "string" and (split(listed) or { "DNS:" }) or {}) do
    local dnsName = name:match("^DNS:(.*)$")
    if dnsName then dns[#dns + 1] = dnsName end
    local address = name:match("^IP Address:(.*)$")
    if address then addresses[#addresses + 1] = address end
  end
  return dns, addresses
end

local function commonNames(certificate)
  local subject = certificate.subject
  local name = type(subject) == "table" and subject.CN or nil
  if type(name) == "table" then return name end
  return name ~= nil and { tostring(name) } or {}
end

-- nil when the host is the certificate's, else why not.
local function reasonAgainst(host, certificate)
  local dns, addresses = namesOf(certificate)
  if ip.parse(host) ~= 0 then
    for _, address in ipairs(addresses) do if sameAddress(host, address) then return nil end end
    return ("IP: %s is not in the cert's list: %s"):format(host, table.concat(addresses, ", "))
  end
  local small = host:lower()
  if #dns > 0 then
    for _, name in ipairs(dns) do if fits(small, name, true) then return nil end end
    return ("Host: %s. is not in the cert's altnames: %s"):format(host, certificate.subjectaltname)
  end
  local names = commonNames(certificate)
  if #names == 0 then return "Cert does not contain a DNS name" end
  for _, name in ipairs(names) do if fits(small, name, true) then return nil end end
  return ("Host: %s. is not cert's CN: %s"):format(host, table.concat(names, ","))
end

--- Checks that a certificate is a host's: by its alternative names; by its common name only where it has no DNS names.
--- A wildcard stands for (a part of) the first label. Source: Node 20.
---@param host string a name or an IP address
---@param certificate table as `getPeerCertificate` gives it
---@return Error? err nil when it is; `ERR_TLS_CERT_ALTNAME_INVALID` with `reason`, `host`, `cert` else
function identity.check(host, certificate)
  validate.string(host, "hostname")
  validate.table(certificate, "cert")
  host = withoutDot(host)
  local reason = reasonAgainst(host, certificate)
  if not reason then return nil end
  return errors.coded("ERR_TLS_CERT_ALTNAME_INVALID", "Hostname/IP does not match certificate's altnames: " .. reason,
    { reason = reason, host = host, cert = certificate })
end

identity.fits = fits

return identity
