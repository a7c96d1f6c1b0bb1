// client.js PORT COUNT: asks a server COUNT times over 16 kept-alive connections, then prints its processor time a
// request in µs; the twin of client.lua.
const http = require('http');

const port = Number(process.argv[2]), count = Number(process.argv[3]);
const agent = new http.Agent({ keepAlive: true, maxSockets: 16 });
let started = 0, ended = 0;

function ask() {
  if (started === count) return;
  started++;
  http.get({ host: '127.0.0.1', port, agent }, (res) => {
    res.on('data', () => {});
    res.on('end', () => {
      ended++;
      if (ended < count) return ask();
      const used = process.cpuUsage();
      console.log((used.user + used.system) / count);
      process.exit(0);
    });
  });
}

for (let i = 0; i < 16; i++) ask();
