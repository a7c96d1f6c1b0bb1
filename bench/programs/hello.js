// hello.js PORT: answers every request with a line of text; the twin of hello.lua.
const http = require('http');

http.createServer((req, res) => res.end('hello world\n')).listen(Number(process.argv[2]), '127.0.0.1');
