-- hello.lua PORT: answers every request with a line of text; the twin of hello.js.
local http = require("http")

http.createServer(function(_, res) res:finish("hello world\n") end):listen(tonumber(process.argv[2]), "127.0.0.1")
