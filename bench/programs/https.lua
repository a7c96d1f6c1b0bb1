-- https.lua PORT CERT KEY: hello, 10 KiB and 1 MiB over TLS; the twin of https.js.
local page, large = ("0123456789abcdef"):rep(640), ("0123456789abcdef"):rep(65536)

require("https").createServer({ certFile = process.argv[3], keyFile = process.argv[4] }, function(req, res)
  if req.url == "/10k" then return res:finish(page) end
  if req.url == "/1m" then return res:finish(large) end
  res:finish("hello world\n")
end):listen(tonumber(process.argv[2]), "127.0.0.1")
