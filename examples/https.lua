-- https.lua: an HTTPS server that faces the internet by itself: a cluster, certificate files that may be renewed under it,
-- browsers sent over from http, and HSTS, so that they come by https the next time.
-- Run it with `lrun examples/https.lua CERT.pem KEY.pem`; without files it makes a certificate for localhost with openssl, and
-- browsers will warn. HTTPS_PORT (8443), HTTP_PORT (8080) and WORKERS are in the environment; 443 and 80 take root or
-- `setcap cap_net_bind_service=+ep`, and with USER_ID (and GROUP_ID) the workers give up being root. Try it:
--   curl -k https://localhost:8443/
--   curl -i http://localhost:8080/page
local child_process = require("child_process")
local cluster = require("cluster")
local http = require("http")
local os = require("os")

local HTTPS_PORT = tonumber(process.env.HTTPS_PORT) or 8443
local HTTP_PORT = tonumber(process.env.HTTP_PORT) or 8080
local WORKERS = tonumber(process.env.WORKERS) or os.availableParallelism()
local YEAR = 365 * 24 * 3600

-- A certificate of our own, good for trying things out.
local function makeCertificate()
  local folder = assert(require("fs").mkdtempSync("/tmp/lrun-https-"))
  local cert, key = folder .. "/cert.pem", folder .. "/key.pem"
  child_process.execFileSync("openssl", {
    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=localhost",
    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert,
  }, { stdio = { "ignore", "ignore", "ignore" } })
  print("no certificate given: made " .. cert)
  return cert, key
end

if cluster.isPrimary then
  local cert, key = process.argv[2], process.argv[3]
  if not cert then cert, key = makeCertificate() end
  cluster.setupPrimary{ args = { cert, key } }
  for _ = 1, WORKERS do cluster.fork() end
  local listening = 0
  cluster:on("listening", function()
    listening = listening + 1
    if listening == 2 * WORKERS then print(("ready: https://localhost:%d/"):format(HTTPS_PORT)) end
  end)
  cluster:on("exit", function(worker) if not worker.exitedAfterDisconnect then cluster.fork() end end)
  process:on("SIGHUP", function() cluster.reload() end)
  return
end

local https = require("https")

-- Read now, while this process may; later the primary watches the files and sends what has changed.
local server = https.createServer({ certFile = process.argv[2], keyFile = process.argv[3], watch = true }, function(req, res)
  res:setHeader("Strict-Transport-Security", "max-age=" .. YEAR)
  res:setHeader("Content-Type", "text/plain; charset=utf-8")
  if req.url == "/health" then return res:finish("ok\n") end
  res:finish(("hello from worker %d over %s\n"):format(cluster.worker.id, req.socket:getProtocol()))
end)
server:on("tlsClientError", function() end)     -- the internet is full of them

local redirect = http.createServer(function(req, res)
  local host = (req.headers.host or "localhost"):match("^%[.-%]") or (req.headers.host or "localhost"):match("^[^:]*")
  local port = HTTPS_PORT == 443 and "" or ":" .. HTTPS_PORT
  res:writeHead(308, { Location = ("https://%s%s%s"):format(host, port, req.url) })
  res:finish()
end)

server:listen(HTTPS_PORT)
redirect:listen(HTTP_PORT, function()
  -- The primary holds the ports: nothing here needs root any more.
  if process.env.GROUP_ID then process.setgid(tonumber(process.env.GROUP_ID)) end
  if process.env.USER_ID then process.setuid(tonumber(process.env.USER_ID)) end
end)
