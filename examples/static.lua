-- static.lua: a folder over HTTP: types, ranges, conditional requests, listings, files compressed beforehand; nothing outside of it.
-- Run it with `lrun examples/static.lua [FOLDER]` (default: where you are; PORT in the environment: 8000) and open http://localhost:8000.
local http = require("http")

local folder = process.argv[2] or "."
local files = http.serveFiles(folder, { listing = true, headers = { ["X-Content-Type-Options"] = "nosniff" } })

local server = http.createServer(files)
server:listen(tonumber(process.env.PORT) or 8000, function()
  print(("Serving %s on http://localhost:%d"):format(folder, server:address().port))
end)
