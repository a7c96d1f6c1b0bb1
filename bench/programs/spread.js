// spread.js WORKERS CONNECTIONS: the twin of spread.lua.
const cluster = require('cluster');
const net = require('net');

function primary(workers, connections) {
  const counts = {};
  let started = 0, ended = 0, listening = 0;
  const report = () => {
    const all = Object.keys(cluster.workers).map((id) => counts[id] || 0);
    const most = Math.max(...all);
    console.log((most - Math.min(...all)) / most * 100);
    process.exit(0);
  };
  const connect = (port) => {
    if (started === connections) return;
    started++;
    const socket = net.connect(port, '127.0.0.1');
    socket.on('data', (id) => { counts[id] = (counts[id] || 0) + 1; });
    socket.on('close', () => {
      if (++ended === connections) return report();
      connect(port);
    });
  };
  cluster.on('listening', (worker, address) => {
    if (++listening < workers) return;
    for (let i = 0; i < 32; i++) connect(address.port);
  });
  for (let i = 0; i < workers; i++) cluster.fork();
}

if (cluster.isPrimary) {
  primary(Number(process.argv[2]), Number(process.argv[3]));
} else {
  net.createServer((socket) => socket.end(String(cluster.worker.id))).listen(0, '127.0.0.1');
}
