--- testssl looks for known weaknesses in a server of ours that has two kinds of keys: protocols, ciphers, certificates, attacks.
local pki = require("spec.support.pki")
pki.need()
local await = require("await")
local child_process = require("child_process")
local fs = require("fs")
local https = require("https")
local json = require("json")
local servers = require("spec.support.servers")

if not pki.has("testssl") then
  print("skipped: no testssl (testssl.sh)")
  process.exit(77)
end

-- What has to be looked into, or the report is worth nothing.
local EXPECTED = {
  "SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2", "TLS1_3", "cipherlist_NULL", "cipherlist_EXPORT", "cipher_order", "heartbleed", "CCS",
  "ticketbleed", "ROBOT", "secure_renego", "secure_client_renego", "CRIME_TLS", "POODLE_SSL", "SWEET32", "FREAK", "DROWN", "LOGJAM",
  "BEAST", "LUCKY13", "RC4",
}

describe("testssl", function()
  after_each(servers.close)

  it("finds nothing above low", function()
    local port = servers.listen(https.createServer({
      cert = { pki.inspected.cert, pki.inspectedRSA.cert }, key = { pki.inspected.key, pki.inspectedRSA.key }, dhparam = "auto",
    }, function(_, res) res:finish("hello") end))
    local report = pki.folder() .. "/report.json"
    local _, output = await(child_process.exec, ("testssl --quiet --color 0 --warnings off --nodns none --openssl-timeout 10 "
      .. "--protocols --std --server-preference --server-defaults --fs --vulnerable --jsonfile %s --add-ca %s --ip 127.0.0.1 localhost:%d "
      .. "</dev/null"):format(report, pki.ca.certPath, port), { timeout = 280000, maxBuffer = 16 * 1024 * 1024 })
    local seen, found = {}, {}
    for _, finding in ipairs(json.decode(fs.readFileSync(report))) do
      seen[finding.id] = true
      local severity = finding.severity
      if severity ~= "OK" and severity ~= "INFO" and severity ~= "LOW" then
        found[#found + 1] = ("%s: %s %s"):format(finding.id, severity, finding.finding)
      end
    end
    assert.same({}, found)
    for _, id in ipairs(EXPECTED) do assert.is_true(seen[id], id .. " is not in the report:\n" .. output) end
  end)
end)
