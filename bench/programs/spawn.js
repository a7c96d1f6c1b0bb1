// spawn.js WHAT COUNT: the twin of spawn.lua.
const child_process = require('child_process');

const what = process.argv[2], count = Number(process.argv[3]);
const started = process.hrtime.bigint();

function report() {
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  console.log(what === 'fork' ? seconds * 1e3 / count : count / seconds);
}

function series(start) {
  let left = count;
  function nextOne() {
    if (left-- === 0) return report();
    start().on('exit', nextOne);
  }
  nextOne();
}

if (what === 'spawn') {
  series(() => child_process.spawn('/bin/true'));
} else if (what === 'fork') {
  series(() => child_process.fork(__dirname + '/empty.js'));
} else {
  for (let i = 0; i < count; i++) child_process.execFileSync('/bin/echo', ['hello']);
  report();
}
