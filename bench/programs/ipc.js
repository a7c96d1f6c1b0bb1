// ipc.js WHAT SERIALIZATION SIZE COUNT [CHILDREN]: the twin of ipc.lua.
const child_process = require('child_process');
const net = require('net');

const BATCH = 200;
const [what, serialization, sizeText, countText, childrenText] = process.argv.slice(2);
const size = Number(sizeText), count = Number(countText), children = Number(childrenText || 1);
const text = 'x'.repeat(Math.max(size - 20, 0));
const message = (id) => ({ cmd: 'work', id, text, list: [1, 2, 3] });

function flood(target, total) {
  let sent = 0;
  function batch() {
    for (let n = Math.min(BATCH, total - sent); n > 0; n--) {
      if (!target.send(message(++sent))) {
        target.send(message(0), batch);
        return;
      }
    }
    if (sent < total) setImmediate(batch);
  }
  batch();
}

const roles = {
  oneway() {
    let got = 0;
    process.on('message', (m) => { if (m.id !== 0 && ++got === count) process.send('done'); });
  },
  roundtrip() { process.on('message', (m) => process.send(m)); },
  objects() { process.on('message', (m) => process.send(m)); },
  fan() { process.once('message', () => flood(process, count)); },
  handles() {
    process.on('message', (m, handle) => {
      if (handle) handle.close();
      if (m.id === count) process.send('done');
    });
  },
};

function report(started, total) {
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  console.log(what === 'roundtrip' || what === 'objects' ? seconds * 1e6 / total : total / seconds);
  process.exit(0);
}

function pingPong(kid, question) {
  const started = process.hrtime.bigint();
  let turns = 0;
  kid.on('message', () => {
    if (++turns === count) report(started, count);
    kid.send(question);
  });
  kid.send(question);
}

const measures = {
  oneway([kid]) {
    const started = process.hrtime.bigint();
    kid.on('message', () => report(started, count));
    flood(kid, count);
  },
  roundtrip([kid]) { pingPong(kid, message(1)); },
  objects([kid]) {
    const list = [];
    for (let i = 1; i <= size; i++) list.push({ id: i, name: 'item ' + i, price: i * 1.5, sold: i % 2 === 0 });
    pingPong(kid, list);
  },
  fan(kids) {
    const started = process.hrtime.bigint();
    let got = 0;
    for (const kid of kids) {
      kid.on('message', (m) => { if (m.id !== 0 && ++got === count * children) report(started, got); });
      kid.send('go');
    }
  },
  handles([kid]) {
    const server = net.createServer();
    server.listen(0, () => {
      const started = process.hrtime.bigint();
      kid.on('message', () => report(started, count));
      for (let id = 1; id <= count; id++) kid.send({ id }, server);
    });
  },
};

if (process.send) {
  process.send('ready');
  roles[what]();
} else {
  let waiting = children;
  const kids = [];
  for (let i = 0; i < children; i++) {
    const kid = child_process.fork(__filename, process.argv.slice(2), { serialization });
    kids.push(kid);
    kid.once('message', () => { if (--waiting === 0) measures[what](kids); });
  }
}
