// gzip.js PORT: the twin of gzip.lua.
const http = require('http')
const zlib = require('zlib')

const items = []
for (let i = 1; i <= 106; i++) {
  items.push(`{"id":${i * 7919},"name":"item number ${i}","tags":["one","two","three"],"price":${i}.5,"available":${i % 3 === 0}}`)
}
const body = `[${items.join(',')}]`.slice(0, 10240)

http.createServer((req, res) => {
  res.setHeader('Content-Type', 'application/json')
  res.setHeader('Vary', 'Accept-Encoding')
  if (!/gzip/.test(req.headers['accept-encoding'] || '')) return res.end(body)
  zlib.gzip(body, (err, packed) => {
    res.setHeader('Content-Encoding', 'gzip')
    res.setHeader('Content-Length', packed.length)
    res.end(packed)
  })
}).listen(Number(process.argv[2]), '127.0.0.1')
