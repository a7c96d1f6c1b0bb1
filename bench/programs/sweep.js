// sweep.js: many small works; the twin of sweep.lua, for Node (with --expose-gc) and Bun.
const child_process = require("child_process");
const { EventEmitter } = require("events");
const fs = require("fs");
const http = require("http");
const net = require("net");
const path = require("path");
const querystring = require("querystring");
const stream = require("stream");
const util = require("util");

const ROUNDS = 3;

const scratch = process.argv[2];
const only = process.argv[3];
const works = [];

let group;
const work = (name, count, f) => works.push({ name, group, count, f });
const now = (name, count, f) =>
  work(name, count, (n, done) => {
    f(n);
    done();
  });
const nothing = () => {};
let sink; // what is made goes here, so that it is made

function timersAndAwait() {
  group = "timers";
  now("timeout set and cleared", 100000, (n) => {
    for (let i = 0; i < n; i++) clearTimeout(setTimeout(nothing, 1000));
  });
  now("timeouts set, then cleared", 100000, (n) => {
    const list = [];
    for (let i = 0; i < n; i++) list.push(setTimeout(nothing, 1000));
    for (let i = 0; i < n; i++) clearTimeout(list[i]);
  });
  now("timeouts of many durations", 20000, (n) => {
    const list = [];
    for (let i = 0; i < n; i++) list.push(setTimeout(nothing, 1000 + (i % 977)));
    for (let i = 0; i < n; i++) clearTimeout(list[i]);
  });
  work("timeout that fires", 10000, (n, done) => {
    let left = n;
    const fired = () => {
      if (--left === 0) done();
    };
    for (let i = 0; i < n; i++) setTimeout(fired, 1);
  });
  work("immediate after immediate", 50000, (n, done) => {
    let i = 0;
    const step = () => {
      if (++i < n) setImmediate(step);
      else done();
    };
    step();
  });
  work("immediates at once", 50000, (n, done) => {
    let left = n;
    const step = () => {
      if (--left === 0) done();
    };
    for (let i = 0; i < n; i++) setImmediate(step);
  });
  work("tick after tick", 100000, (n, done) => {
    let i = 0;
    const step = () => {
      if (++i < n) process.nextTick(step);
      else setImmediate(done);
    };
    step();
  });
  work("await, at once", 200000, async (n, done) => {
    for (let i = 0; i < n; i++) sink = await i;
    done();
  });
  work("await, an immediate later", 20000, async (n, done) => {
    const later = util.promisify(setImmediate);
    for (let i = 0; i < n; i++) await later();
    done();
  });
  work("task that ends at once", 100000, (n, done) => {
    const task = async () => {};
    for (let i = 0; i < n; i++) sink = task();
    done();
  });
}

function eventsAndText() {
  group = "events";
  now("emit, one listener", 1000000, (n) => {
    const emitter = new EventEmitter();
    let sum = 0;
    emitter.on("x", (a, b) => (sum += a + b));
    for (let i = 0; i < n; i++) emitter.emit("x", i, 1);
    sink = sum;
  });
  now("emit, four listeners", 300000, (n) => {
    const emitter = new EventEmitter();
    let sum = 0;
    for (let i = 0; i < 4; i++) emitter.on("x", (a, b) => (sum += a + b));
    for (let i = 0; i < n; i++) emitter.emit("x", i, 1);
    sink = sum;
  });
  now("once, and emit", 200000, (n) => {
    const emitter = new EventEmitter();
    for (let i = 0; i < n; i++) {
      emitter.once("x", nothing);
      emitter.emit("x");
    }
  });
  now("listener added and removed", 200000, (n) => {
    const emitter = new EventEmitter();
    for (let i = 0; i < n; i++) emitter.on("x", nothing).off("x", nothing);
  });

  group = "text";
  const line = "GET /a/path?with=query&and=more HTTP/1.1 and some words of a line that is split";
  now("split a line", 100000, (n) => {
    for (let i = 0; i < n; i++) sink = line.split(/\s+/);
  });
  now("join ten pieces", 200000, (n) => {
    const parts = [];
    for (let i = 1; i <= 10; i++) parts.push("piece" + i);
    for (let i = 0; i < n; i++) sink = parts.join(",");
  });
  now("append to a text", 300000, (n) => {
    let text = "";
    for (let i = 0; i < n; i++) text += "line " + i + "\n";
    sink = Buffer.from(text);
  });
  now("bytes of a text", 100, (n) => {
    const bytes = Buffer.from("abcdefghij".repeat(10000));
    let sum = 0;
    for (let k = 0; k < n; k++) for (let i = 0; i < bytes.length; i++) sum += bytes[i];
    sink = sum;
  });
  now("base64 of 10 KiB, and back", 5000, (n) => {
    const bytes = Buffer.from("\0\x01\xfe\xffxyz!".repeat(1280), "latin1");
    for (let i = 0; i < n; i++) sink = Buffer.from(bytes.toString("base64"), "base64");
  });
  now("format a line", 300000, (n) => {
    for (let i = 0; i < n; i++) sink = `${"name"} ${i} ${"value"}`;
  });
  now("path.join", 100000, (n) => {
    for (let i = 0; i < n; i++) sink = path.join("/a/b", "../c", "./d.txt");
  });
  now("URL of a text", 50000, (n) => {
    for (let i = 0; i < n; i++) sink = new URL("https://user@example.com:8080/a/b?x=1&y=2#top");
  });
  now("querystring.parse", 50000, (n) => {
    for (let i = 0; i < n; i++) sink = querystring.parse("a=1&b=two+words&c=%C3%A9&d=");
  });
  now("inspect a value", 10000, (n) => {
    const value = { id: 1, name: "a name", list: [1, 2, 3], inner: { deep: { er: true } } };
    for (let i = 0; i < n; i++) sink = util.inspect(value);
  });
}

const small = {
  id: 12345, name: "a user's name", email: "someone@example.com", active: true, score: 98.5,
  tags: ["one", "two", "three"], address: { city: "Berlin", zip: "10115" },
};
const many = [], fractions = [];
for (let i = 1; i <= 1000; i++) many.push({ id: i, name: "item " + i, on: i % 2 === 0 });
for (let i = 1; i <= 9000; i++) fractions.push(i / 7);

function jsonAndFiles() {
  group = "JSON";
  const smallText = JSON.stringify(small), manyText = JSON.stringify(many), fractionsText = JSON.stringify(fractions);
  now("JSON of a small object", 100000, (n) => {
    for (let i = 0; i < n; i++) sink = JSON.stringify(small);
  });
  now("small object of JSON", 100000, (n) => {
    for (let i = 0; i < n; i++) sink = JSON.parse(smallText);
  });
  now("JSON of 1,000 objects", 200, (n) => {
    for (let i = 0; i < n; i++) sink = JSON.stringify(many);
  });
  now("1,000 objects of JSON", 200, (n) => {
    for (let i = 0; i < n; i++) sink = JSON.parse(manyText);
  });
  now("JSON of 9,000 fractions", 50, (n) => {
    for (let i = 0; i < n; i++) sink = JSON.stringify(fractions);
  });
  now("9,000 fractions of JSON", 50, (n) => {
    for (let i = 0; i < n; i++) sink = JSON.parse(fractionsText);
  });

  group = "files";
  const file = scratch + "/4k";
  fs.writeFileSync(file, "x".repeat(4096));
  now("fs.statSync", 30000, (n) => {
    for (let i = 0; i < n; i++) sink = fs.statSync(file);
  });
  now("fs.existsSync", 30000, (n) => {
    for (let i = 0; i < n; i++) sink = fs.existsSync(file);
  });
  now("fs.readFileSync, 4 KiB", 20000, (n) => {
    for (let i = 0; i < n; i++) sink = fs.readFileSync(file);
  });
  now("fs.writeFileSync, 4 KiB", 5000, (n) => {
    const data = "y".repeat(4096);
    for (let i = 0; i < n; i++) fs.writeFileSync(scratch + "/out", data);
  });
  now("fs.readdirSync", 5000, (n) => {
    for (let i = 0; i < n; i++) sink = fs.readdirSync("/");
  });
  work("fs.stat", 5000, async (n, done) => {
    const stat = util.promisify(fs.stat);
    for (let i = 0; i < n; i++) sink = await stat(file);
    done();
  });
  work("fs.readFile, 4 KiB", 3000, async (n, done) => {
    const readFile = util.promisify(fs.readFile);
    for (let i = 0; i < n; i++) sink = await readFile(file);
    done();
  });
}

const HOST = "127.0.0.1";
const serve = (server, done) => server.listen(0, HOST, () => done(server.address().port));

function streamsAndSockets() {
  group = "sockets";
  work("chunks through a PassThrough", 50000, (n, done) => {
    const through = new stream.PassThrough(), chunk = Buffer.alloc(1024);
    let left = n;
    through.on("data", nothing).on("end", done);
    const write = () => {
      while (left > 0) {
        left--;
        if (!through.write(chunk)) return through.once("drain", write);
      }
      through.end();
    };
    write();
  });
  work("bytes there and back, one socket", 5000, (n, done) => {
    const server = net.createServer((socket) => socket.pipe(socket));
    serve(server, (port) => {
      const socket = net.connect(port, HOST);
      let left = n;
      socket.on("data", () => {
        if (--left > 0) return socket.write("ping");
        socket.end();
        server.close(done);
      });
      socket.write("ping");
    });
  });
  const mebibyte = Buffer.alloc(1024 * 1024);
  for (let i = 0; i < mebibyte.length / 8; i++) mebibyte.write(i.toString(16).padStart(8, "0"), 8 * i);

  work("1 MiB written to a socket", 100, (n, done) => {
    const server = net.createServer((socket) => {
      let left = n;
      const write = () => {
        while (left > 0) {
          left--;
          if (!socket.write(mebibyte)) return socket.once("drain", write);
        }
        socket.end();
      };
      write();
    });
    serve(server, (port) => {
      let got = 0;
      const socket = net.connect(port, HOST);
      socket.on("data", (data) => (got += data.length));
      socket.on("close", () => {
        if (got !== n * mebibyte.length) throw new Error("lost");
        server.close(done);
      });
    });
  });
  work("connect and close", 500, (n, done) => {
    const server = net.createServer((socket) => {
      socket.end();
      socket.resume();
    });
    serve(server, (port) => {
      let left = n;
      const connect = () => {
        const socket = net.connect(port, HOST);
        socket.resume();
        socket.on("close", () => (--left > 0 ? connect() : server.close(done)));
      };
      connect();
    });
  });
  work("http.get, kept alive", 2000, (n, done) => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const server = http.createServer((_, res) => res.end("hello"));
    serve(server, (port) => {
      let left = n;
      const get = () =>
        http.get({ host: HOST, port, agent }, (res) => {
          res.resume();
          res.on("end", () => {
            if (--left > 0) return get();
            agent.destroy();
            server.close(done);
          });
        });
      get();
    });
  });
}

function processes() {
  group = "processes";
  work("message of 1,000 objects, and back", 50, (n, done) => {
    const child = child_process.fork(process.argv[1], ["child"]);
    let left = n;
    child.on("message", () => {
      if (--left > 0) return child.send(many);
      child.disconnect();
      done();
    });
    child.send(many);
  });
  now("print", 200000, (n) => {
    for (let i = 0; i < n; i++) console.log("line", i);
  });
  now("process.hrtime", 300000, (n) => {
    for (let i = 0; i < n; i++) sink = process.hrtime.bigint();
  });
  now("an environment variable", 100000, (n) => {
    for (let i = 0; i < n; i++) sink = process.env.PATH;
  });
}

const collect = () => (globalThis.Bun ? Bun.gc(true) : globalThis.gc?.());
const clock = () => Number(process.hrtime.bigint());

async function main() {
  timersAndAwait();
  eventsAndText();
  jsonAndFiles();
  streamsAndSockets();
  processes();
  for (const each of works) {
    if (only && each.group !== only && !each.name.includes(only)) continue;
    let best = Infinity;
    collect();
    for (let i = 0; i < ROUNDS; i++) {
      const started = clock();
      await new Promise((done) => each.f(each.count, done));
      best = Math.min(best, (clock() - started) / each.count);
    }
    fs.writeSync(2, `${each.name}\t${best}\n`);
  }
  process.exit(0);
}

if (scratch === "child") process.on("message", (m) => process.send(m));
else main();
