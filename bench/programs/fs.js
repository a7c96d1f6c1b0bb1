// The twin of fs.lua, for Node and Bun.
const fs = require("fs");

const directory = process.argv[2];
const small = directory + "/small", large = directory + "/large", hundred = directory + "/hundred";
const buffer = Buffer.alloc(4096);

const spent = () => {
  const usage = process.cpuUsage();
  return usage.user + usage.system;
};
const call = (f, ...args) => new Promise((resolve, reject) => f(...args, (err, value) => (err ? reject(err) : resolve(value))));

const work = async (name, calls, f) => {
  await f(Math.floor(calls / 5));
  const before = spent();
  await f(calls);
  console.log(`${name}\t${((spent() - before) / calls).toFixed(3)}`);
};

(async () => {
  await work("fs.stat", 10000, async (n) => { for (let i = 0; i < n; i++) await call(fs.stat, small); });
  await work("fs.readFile, 4 KiB", 5000, async (n) => { for (let i = 0; i < n; i++) await call(fs.readFile, small); });
  await work("fs.open, read, close", 5000, async (n) => {
    for (let i = 0; i < n; i++) {
      const fd = await call(fs.open, small);
      await call(fs.read, fd, buffer, 0, 4096, 0);
      await call(fs.close, fd);
    }
  });
  await work("fs.readFile, 1 MiB", 400, async (n) => { for (let i = 0; i < n; i++) await call(fs.readFile, large); });
  await work("fs.readdir, 100 names", 3000, async (n) => { for (let i = 0; i < n; i++) await call(fs.readdir, hundred); });
  await work("fs.statSync", 30000, async (n) => { for (let i = 0; i < n; i++) fs.statSync(small); });
  await work("fs.existsSync", 30000, async (n) => { for (let i = 0; i < n; i++) fs.existsSync(small); });
  await work("fs.readFileSync, 4 KiB", 20000, async (n) => { for (let i = 0; i < n; i++) fs.readFileSync(small); });
  await work("fs.readdirSync, 100 names", 3000, async (n) => { for (let i = 0; i < n; i++) fs.readdirSync(hundred); });
})();
