// https.js PORT CERT KEY: hello, 10 KiB and 1 MiB over TLS, by what is fastest in Node, Bun or Deno; the twin of https.lua.
const [port, cert, key] = process.argv.slice(2);
const page = '0123456789abcdef'.repeat(640);
const large = '0123456789abcdef'.repeat(65536);
const read = (path) => (globalThis.Deno ? Deno.readTextFileSync(path) : require('fs').readFileSync(path, 'utf8'));
const answer = (path) => (path === '/10k' ? page : path === '/1m' ? large : 'hello world\n');

if (globalThis.Bun) {
  Bun.serve({
    port: Number(port), hostname: '127.0.0.1', tls: { cert: read(cert), key: read(key) },
    fetch: (req) => new Response(answer(new URL(req.url).pathname)),
  });
} else if (globalThis.Deno) {
  Deno.serve({ port: Number(port), hostname: '127.0.0.1', cert: read(cert), key: read(key), onListen() {} },
    (req) => new Response(answer(new URL(req.url).pathname)));
} else {
  require('https').createServer({ cert: read(cert), key: read(key) }, (req, res) => res.end(answer(req.url)))
    .listen(Number(port), '127.0.0.1');
}
