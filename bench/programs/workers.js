// workers.js PORT WORKERS: hello.js in a cluster; the twin of workers.lua.
const cluster = require('cluster');
const http = require('http');

if (cluster.isPrimary) {
  for (let i = 0; i < Number(process.argv[3]); i++) cluster.fork();
} else {
  http.createServer((req, res) => res.end('hello world\n')).listen(Number(process.argv[2]), '127.0.0.1');
}
