// files.js PORT FOLDER: a folder over HTTP as Node programs do it by hand: stat and pipe. The twin of files.lua.
const fs = require('fs');
const http = require('http');
const path = require('path');

const [port, folder] = process.argv.slice(2);

http.createServer((req, res) => {
  const gz = (req.headers['accept-encoding'] || '').includes('gzip') && req.url.endsWith('.css');
  const file = path.join(folder, req.url) + (gz ? '.gz' : '');
  fs.stat(file, (err, stats) => {
    if (err || !stats.isFile()) return res.writeHead(404).end();
    const etag = `"${stats.ino.toString(16)}-${stats.size.toString(16)}-${Math.floor(stats.mtimeMs).toString(16)}"`;
    const headers = { ETag: etag, 'Last-Modified': stats.mtime.toUTCString(), 'Accept-Ranges': 'bytes', 'Cache-Control': 'public, max-age=0' };
    if (req.headers['if-none-match']) return res.writeHead(304, headers).end();
    const range = /^bytes=(\d+)-(\d+)$/.exec(req.headers.range || '');
    const [start, end] = range ? [Number(range[1]), Number(range[2])] : [0, stats.size - 1];
    headers['Content-Type'] = 'application/octet-stream';
    headers['Content-Length'] = end - start + 1;
    if (range) headers['Content-Range'] = `bytes ${start}-${end}/${stats.size}`;
    if (gz) headers['Content-Encoding'] = 'gzip';
    res.writeHead(range ? 206 : 200, headers);
    fs.createReadStream(file, { start, end }).pipe(res);
  });
}).listen(Number(port), '127.0.0.1');
