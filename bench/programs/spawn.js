// spawn.js WHAT COUNT [MEBIBYTES]: the twin of spawn.lua.
const child_process = require('child_process');

const what = process.argv[2], count = Number(process.argv[3]), size = Number(process.argv[4] || 0) * 1024 * 1024;
const held = size > 0 ? Buffer.alloc(size, 1) : null;
const started = process.hrtime.bigint();

function report() {
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  console.log(what === 'fork' ? seconds * 1e3 / count : count / seconds);
}

function series(start, done) {
  let left = count;
  function nextOne() {
    if (left-- === 0) return done();
    start().on('exit', nextOne);
  }
  nextOne();
}

if (what === 'spawn') {
  const times = [];
  let last;
  series(() => {
    const now = process.hrtime.bigint();
    if (last !== undefined) times.push(Number(now - last));
    last = now;
    return child_process.spawn('/bin/true');
  }, () => {
    times.sort((a, b) => a - b);
    console.log(1e9 / times[Math.ceil(times.length / 2) - 1]);
    if (held !== null && held[0] !== 1) throw new Error('it was held to the end');
  });
} else if (what === 'fork') {
  series(() => child_process.fork(__dirname + '/empty.js'), report);
} else {
  for (let i = 0; i < count; i++) child_process.execFileSync('/bin/echo', ['hello']);
  report();
}
