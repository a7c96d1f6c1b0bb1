-- gzip.lua PORT: a JSON answer of 10 KiB, compressed for who asks; the twin of gzip.js.
local http = require("http")

local items = {}
for i = 1, 106 do
  items[i] = ('{"id":%d,"name":"item number %d","tags":["one","two","three"],"price":%d.5,"available":%s}'):format(
    i * 7919, i, i, tostring(i % 3 == 0))
end
local body = ("[" .. table.concat(items, ",") .. "]"):sub(1, 10240)

http.createServer({ compress = true }, function(_, res)
  res:setHeader("Content-Type", "application/json")
  res:finish(body)
end):listen(tonumber(process.argv[2]), "127.0.0.1")
