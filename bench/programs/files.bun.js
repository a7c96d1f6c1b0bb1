// files.bun.js PORT FOLDER: a folder over HTTP as Bun has it: Bun.file. The twin of files.lua.
const [port, folder] = process.argv.slice(2);

Bun.serve({
  port: Number(port),
  hostname: '127.0.0.1',
  async fetch(req) {
    const { pathname } = new URL(req.url);
    const gz = (req.headers.get('accept-encoding') || '').includes('gzip') && pathname.endsWith('.css');
    const file = Bun.file(folder + pathname + (gz ? '.gz' : ''));
    const headers = { 'Content-Type': 'application/octet-stream', 'Cache-Control': 'public, max-age=0' };
    if (req.headers.get('if-none-match')) {
      const stats = await file.stat();
      return new Response(null, { status: 304, headers: { ...headers, ETag: `"${stats.size}-${stats.mtimeMs}"` } });
    }
    if (gz) headers['Content-Encoding'] = 'gzip';
    const range = /^bytes=(\d+)-(\d+)$/.exec(req.headers.get('range') || '');
    if (!range) return new Response(file, { headers });
    headers['Content-Range'] = `bytes ${range[1]}-${range[2]}/${file.size}`;
    return new Response(file.slice(Number(range[1]), Number(range[2]) + 1), { status: 206, headers });
  },
});
