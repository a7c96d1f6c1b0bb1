// http.js PORT: what a server does besides saying hello; the twin of http.lua.
const http = require('http');

const page = '0123456789abcdef'.repeat(640);
const piece = Buffer.from('0123456789abcdef'.repeat(4096));
const PIECES = 1600; // 100 MiB

const routes = {
  '/hello': (req, res) => res.end('hello world\n'),
  '/await': async (req, res) => { await null; res.end('hello world\n'); },
  '/json': (req, res) => {
    res.setHeader('Content-Type', 'application/json');
    res.end(JSON.stringify({ id: 42, name: 'a name of some length', tags: ['one', 'two', 'three'], ok: true }));
  },
  '/page': (req, res) => res.end(page),
  '/headers': (req, res) => res.end(req.headers['x-header-99']),
  '/post': (req, res) => {
    let size = 0;
    req.on('data', (chunk) => { size += chunk.length; });
    req.on('end', () => res.end(String(size)));
  },
  '/stream': (req, res) => {
    let sent = 0;
    const more = () => {
      while (sent < PIECES) {
        sent++;
        if (!res.write(piece)) return res.once('drain', more);
      }
      res.end();
    };
    more();
  },
};

http.createServer((req, res) => (routes[req.url] || routes['/hello'])(req, res)).listen(Number(process.argv[2]), '127.0.0.1');
