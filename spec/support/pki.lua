--- Keys and certificates for specs, made by the openssl command when first asked for and gone with the process.
---
---     pki.ca.cert                        PEM text; `certPath`, `keyPath` the files; `key`
---     pki.options("server", { … })       { cert, key } of `server` and what else is given
local child_process = require("child_process")
local uv = require("luv")

local pki = {}

local HERE = "DNS:localhost,DNS:server.test,IP:127.0.0.1"

local INSPECTED = "\ncrlDistributionPoints=URI:http://localhost/revoked.crl\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth"

local PLAN = {
  ca = { cn = "Spec Root", extra = "basicConstraints=critical,CA:TRUE" },
  otherCa = { cn = "Other Root", extra = "basicConstraints=critical,CA:TRUE" },
  server = { cn = "server.test", issuer = "ca", extra = "subjectAltName=" .. HERE },
  renewed = { cn = "renewed.test", issuer = "ca", extra = "subjectAltName=" .. HERE },
  alpha = { cn = "alpha.test", issuer = "ca", extra = "subjectAltName=DNS:alpha.test" },
  wild = { cn = "wild", issuer = "ca", extra = "subjectAltName=DNS:*.wild.test" },
  rsa = { cn = "rsa.test", issuer = "ca", key = "rsa:2048", extra = "subjectAltName=" .. HERE },
  selfSigned = { cn = "self.test", extra = "subjectAltName=" .. HERE },
  foreign = { cn = "foreign.test", issuer = "otherCa", extra = "subjectAltName=" .. HERE },
  expired = { cn = "expired.test", issuer = "ca", days = -1, extra = "subjectAltName=" .. HERE },
  client = { cn = "client one", issuer = "ca", extra = "subjectAltName=URI:http://people.test/one" },
  -- Everything that an inspector looks for: a long life, a place of revocations, its uses.
  inspected = { cn = "server.test", issuer = "ca", days = 200, extra = "subjectAltName=" .. HERE .. INSPECTED },
  inspectedRSA = { cn = "server.test", issuer = "ca", key = "rsa:2048", days = 200, extra = "subjectAltName=" .. HERE .. INSPECTED },
  foreignClient = { cn = "client two", issuer = "otherCa", extra = "subjectAltName=URI:http://people.test/two" },
}

local folder

--- A folder that is removed when the process exits.
function pki.folder()
  if folder then return folder end
  folder = assert(uv.fs_mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/lrun-spec-pki.XXXXXX"))
  process:on("exit", function() os.execute("rm -rf '" .. folder .. "'") end)
  return folder
end

--- Whether there is a program of this name.
function pki.has(program)
  return child_process.spawnSync("sh", { "-c", "command -v " .. program }).status == 0
end

local function run(...)
  local arguments = { ... }
  local done = child_process.spawnSync("openssl", arguments)
  if done.status ~= 0 then error("openssl " .. table.concat(arguments, " ") .. "\n" .. tostring(done.stderr), 2) end
  return done.stdout
end
pki.openssl = run

function pki.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

function pki.write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

--- Whether a command of openssl's has an option.
function pki.knows(command, option)
  local pipe = assert(io.popen("openssl " .. command .. " -help 2>&1"))
  local text = pipe:read("*a")
  pipe:close()
  return text:find(option, 1, true) ~= nil
end

-- Newer ones make no certificate that ends before it begins.
local function make(name, what)
  local dir = pki.folder()
  local keyPath, certPath = dir .. "/" .. name .. ".key", dir .. "/" .. name .. ".pem"
  local days = tostring(what.days or 30)
  if what.key then run("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", keyPath)
  else run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", keyPath) end
  local request, extensions = dir .. "/" .. name .. ".csr", dir .. "/" .. name .. ".ext"
  run("req", "-new", "-key", keyPath, "-subj", "/CN=" .. what.cn, "-out", request)
  pki.write(extensions, what.extra .. "\n")
  local issuer = what.issuer and pki[what.issuer]
  local sign = { "x509", "-req", "-in", request, "-extfile", extensions, "-out", certPath }
  local past = { "-not_before", "20200101000000Z", "-not_after", "20200201000000Z" }
  local span = what.days and what.days < 0 and pki.knows("x509", "-not_after") and past
  for _, each in ipairs(span or { "-days", days }) do sign[#sign + 1] = each end
  for _, each in ipairs(issuer and { "-CA", issuer.certPath, "-CAkey", issuer.keyPath, "-CAcreateserial" } or { "-signkey", keyPath }) do
    sign[#sign + 1] = each
  end
  run(unpack(sign))
  return { cert = pki.read(certPath), key = pki.read(keyPath), certPath = certPath, keyPath = keyPath }
end

setmetatable(pki, { __index = function(self, name)
  if not PLAN[name] then return nil end
  local made = make(name, PLAN[name])
  rawset(self, name, made)
  return made
end })

function pki.options(name, more)
  local options = { key = pki[name].key, cert = pki[name].cert }
  for key, value in pairs(more or {}) do options[key] = value end
  return options
end

--- Ends a spec file as skipped where there is no openssl or no libssl.
function pki.need()
  local ok, problem = pcall(require, "tls")
  if ok and pki.has("openssl") then return end
  print("skipped: " .. (ok and "no openssl command" or tostring(problem)))
  os.exit(77)
end

return pki
