// fork.js COUNT: the twin of fork.lua.
const cluster = require('cluster');
const http = require('http');

if (cluster.isPrimary) {
  let left = Number(process.argv[2]);
  const times = [];
  const one = () => {
    const started = process.hrtime.bigint();
    const worker = cluster.fork();
    worker.once('listening', () => {
      times.push(Number(process.hrtime.bigint() - started) / 1e6);
      worker.process.kill('SIGKILL');
    });
    worker.once('exit', () => {
      if (--left > 0) return one();
      times.sort((a, b) => a - b);
      console.log(times[Math.ceil(times.length / 2) - 1]);
      process.exit(0);
    });
  };
  one();
} else {
  http.createServer((req, res) => res.end('hello world\n')).listen(0, '127.0.0.1');
}
