// websocket.js PORT [deflate]: the twin of websocket.lua, by npm's ws in Node, by Bun's own server in Bun.
const port = Number(process.argv[2]), deflate = process.argv[3] === 'deflate'

if (typeof Bun !== 'undefined') {
  const server = Bun.serve({
    port, hostname: '127.0.0.1',
    fetch(req, server) { return server.upgrade(req, { data: new URL(req.url).pathname }) ? undefined : new Response('no') },
    websocket: {
      perMessageDeflate: deflate,
      open(ws) { if (ws.data === '/room') ws.subscribe('room') },
      message(ws, data) { if (ws.data === '/say') server.publish('room', data, deflate); else ws.send(data, deflate) },
    },
  })
} else {
  const { WebSocketServer } = require('ws')
  const perMessageDeflate = deflate && { serverNoContextTakeover: true, clientNoContextTakeover: true }
  const server = new WebSocketServer({ port, host: '127.0.0.1', perMessageDeflate })
  const room = new Set()
  server.on('connection', (ws, req) => {
    ws.on('error', () => {})
    if (req.url === '/room') {
      room.add(ws)
      ws.on('close', () => room.delete(ws))
    } else if (req.url === '/say') ws.on('message', (data, binary) => { for (const each of room) each.send(data, { binary }) })
    else ws.on('message', (data, binary) => ws.send(data, { binary }))
  })
}
