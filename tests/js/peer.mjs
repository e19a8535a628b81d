// A replica behind an unmodified y-websocket provider, watched so that tests wait for conditions instead of time.
import { WebSocket } from 'ws'
import * as Y from 'yjs'
import { WebsocketProvider as Provider3 } from 'y-websocket'
import { WebsocketProvider as Provider2 } from 'y-websocket-2'

const PROVIDERS = { 2: Provider2, 3: Provider3 }

export class Peer {
  constructor ({ version, url, room, params, clientId, connect = true, broadcast = false, gc = true }) {
    this.doc = new Y.Doc({ gc })
    if (clientId !== undefined) this.doc.clientID = clientId
    this.closes = []
    this.connections = 0
    this.stopped = null // the close a 3.1 provider took as final
    this.watchers = new Set()
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

  changed () {
    for (const watcher of [...this.watchers]) watcher()
  }

  /** Resolves once `holds()` is true; the deadline is the caller's way of hearing that it never was. */
  async until (holds, seconds) {
    if (holds()) return
    await new Promise((resolve, reject) => {
      const settle = (finish) => {
        clearTimeout(deadline)
        this.watchers.delete(watcher)
        finish()
      }
      const watcher = () => { if (holds()) settle(resolve) }
      const deadline = setTimeout(
        () => settle(() => reject(new Error(`condition not met in ${seconds} s: ${holds}`))), seconds * 1000
      )
      this.watchers.add(watcher)
    })
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
