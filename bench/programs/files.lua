-- files.lua PORT FOLDER: a folder over HTTP; beside files.js and files.bun.js.
local http = require("http")

http.createServer(http.serveFiles(process.argv[3])):listen(tonumber(process.argv[2]), "127.0.0.1")
