// Servers and clients that others wrote: Node's HTTP, and npm's ws. What each prints is a JSON value a line.
import { readFileSync } from 'node:fs'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import { createRequire } from 'node:module'

const [what, modules, ...args] = process.argv.slice(2)
const say = (value) => process.stdout.write(JSON.stringify(value) + '\n')
const sockets = () => createRequire(modules + '/x.js')('ws')

const doing = {
  // An HTTP/1.1 server that answers with its name, and echoes over WebSocket.
  server(name, port) {
    const server = http.createServer((request, response) => {
      response.setHeader('Cache-Control', 'no-store')
      response.end(name)
    })
    const { WebSocketServer } = sockets()
    new WebSocketServer({ server, handleProtocols: (wanted) => wanted.values().next().value }).on('connection', (socket, request) => {
      socket.on('message', (data, binary) => socket.send(data, { binary }))
      socket.on('close', (code, reason) => say({ closed: code, reason: reason.toString(), via: request.headers.via }))
    })
    server.listen(Number(port ?? 0), '127.0.0.1', () => say({ port: server.address().port }))
  },

  // A WebSocket client: text, bytes, pings, and how it closes.
  async client(url) {
    const { WebSocket } = sockets()
    const socket = new WebSocket(url, ['chat'], { headers: { host: 'shop.example' } })
    await once(socket, 'open')
    const echo = async (data) => {
      const answered = once(socket, 'message')
      socket.send(data)
      return (await answered)[0]
    }
    const text = (await echo('hello')).toString()
    const bytes = Buffer.alloc(3 << 20, 7)
    const same = (await echo(bytes)).equals(bytes)
    const pong = once(socket, 'pong')
    socket.ping('are you there')
    const ponged = (await pong)[0].toString()
    const closed = once(socket, 'close')
    socket.close(4001, 'done')
    say({ text, same, ponged, protocol: socket.protocol, closed: (await closed)[0] })
  },

  // An HTTP/2 server in plain text, as gRPC's are: what comes goes back part by part, and trailers follow.
  grpc() {
    const server = http2.createServer()
    server.on('stream', (stream, headers) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', 'x-authority': headers[':authority'], 'x-te': headers.te }))
      stream.on('data', (part) => stream.write(part))
      stream.on('end', () => stream.end())
    })
    server.listen(0, '127.0.0.1', () => say({ port: server.address().port }))
  },

  // A call over HTTP/2 with TLS that sends its second part after it has the first back.
  async call(url, certificate) {
    const session = http2.connect(url, { ca: readFileSync(certificate), servername: 'shop.example' })
    const stream = session.request({
      ':method': 'POST', ':path': '/echo.Service/Call', ':authority': 'shop.example', 'content-type': 'application/grpc', te: 'trailers',
    })
    const trailers = once(stream, 'trailers')
    stream.write('one')
    const first = (await once(stream, 'data'))[0].toString()
    stream.write('two')
    const second = (await once(stream, 'data'))[0].toString()
    stream.end()
    stream.resume()
    const { 'grpc-status': status, 'x-authority': authority, 'x-te': te } = (await trailers)[0]
    say({ first, second, status, authority, te })
    session.close()
  },

  // WebSocket over HTTP/2 (RFC 8441), by hand: one masked text frame, and its echo.
  async extended(url, certificate) {
    const session = http2.connect(url, { ca: readFileSync(certificate), servername: 'shop.example' })
    await once(session, 'remoteSettings')
    const enabled = session.remoteSettings.enableConnectProtocol
    const open = (protocol) => session.request({
      ':method': 'CONNECT', ':protocol': protocol, ':scheme': 'https', ':path': '/chat', ':authority': 'shop.example', 'sec-websocket-version': '13',
    })
    const other = (await once(open('other'), 'response'))[0][':status']
    const stream = open('websocket')
    const status = (await once(stream, 'response'))[0][':status']
    const [text, mask] = [Buffer.from('hello'), Buffer.from([1, 2, 3, 4])]
    stream.write(Buffer.concat([Buffer.from([0x81, 0x80 | text.length]), mask, text.map((byte, n) => byte ^ mask[n % 4])]))
    const echo = (await once(stream, 'data'))[0]
    say({ enabled, other, status, echo: echo.subarray(2).toString(), head: [...echo.subarray(0, 2)] })
    stream.close()
    session.close()
  },
}

await doing[what](...args)
