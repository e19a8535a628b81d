// A replica behind an unmodified y-websocket provider.
import { WebSocket } from 'ws'
import * as Y from 'yjs'
import { WebsocketProvider as Provider3 } from 'y-websocket'
import { WebsocketProvider as Provider2 } from 'y-websocket-2'
import { Watched } from './watched.mjs'

const PROVIDERS = { 2: Provider2, 3: Provider3 }

export class Peer extends Watched {
  constructor ({ version, url, room, params, clientId, connect = true, broadcast = false, gc = true }) {
    super()
    this.doc = new Y.Doc({ gc })
    if (clientId !== undefined) this.doc.clientID = clientId
    this.closes = []
    this.connections = 0
    this.stopped = null // the close a 3.1 provider took as final
    this.provider = new PROVIDERS[version](url, room, this.doc, {
      WebSocketPolyfill: WebSocket, params, connect: false, disableBc: !broadcast
    })
    this.provider.on('connection-close', (event) => {
      if (event !== null) this.closes.push(event.code)
    })
    this.provider.on('closed', ({ code, reason }) => { this.stopped = { code, reason } })
    this.provider.on('status', ({ status }) => {
      if (status === 'connected') this.connections += 1
    })
    for (const name of ['connection-close', 'closed', 'status', 'sync']) this.provider.on(name, () => this.changed())
    this.doc.on('update', () => this.changed())
    this.provider.awareness.on('change', () => this.changed())
    if (connect) this.provider.connect()
  }

  get status () {
    return this.provider.wsconnected ? 'connected' : this.provider.wsconnecting ? 'connecting' : 'disconnected'
  }

  /** Ends the TCP connection with no goodbye, as a machine does that loses its network. */
  cut () {
    this.provider.ws?.terminate()
  }

  /** Stops reading from the socket (true) or goes on (false). */
  deafen (deaf) {
    if (deaf) this.provider.ws.pause()
    else this.provider.ws.resume()
  }

  destroy () {
    this.provider.destroy()
    this.provider.awareness.destroy() // holds a timer that would keep the process alive
    this.doc.destroy()
  }
}
