// Unmodified Hocuspocus providers in one process, many documents on a socket, driven over stdin. Run by hocuspocus.py.
import { WebSocket } from 'ws'
import * as Y from 'yjs'
import * as Hocuspocus2 from 'hocuspocus-provider-2'
import * as Hocuspocus3 from 'hocuspocus-provider-3'
import * as Hocuspocus4 from 'hocuspocus-provider-4'
import { edit, read } from './content.mjs'
import { converse, fromBase64, toBase64 } from './dialogue.mjs'
import { WATCHABLE, Watched, named, names } from './watched.mjs'

const PROVIDERS = { 2: Hocuspocus2, 3: Hocuspocus3, 4: Hocuspocus4 }
const QUICK = { delay: 100, minDelay: 50, maxDelay: 1000, jitter: false }
const uncaught = []

console.log = console.error // stdout is the dialogue's, and Yjs has things to say

process.on('uncaughtException', (error) => uncaught.push(String(error)))
process.on('unhandledRejection', (error) => uncaught.push(String(error)))

// As in a browser, where a socket that fails before it is open is no exception: a provider that lets go of one while it
// connects has taken its listeners off before.
class BrowserSocket extends WebSocket {
  constructor (...parameters) {
    super(...parameters)
    this.on('error', () => {})
  }
}

class Socket {
  constructor ({ version, url }) {
    this.version = version
    this.closes = []
    this.connections = 0
    this.frames = []
    this.provider = new PROVIDERS[version].HocuspocusProviderWebsocket({
      url, WebSocketPolyfill: BrowserSocket, connect: false, autoConnect: false, ...QUICK
    })
    this.provider.on('open', () => { this.connections += 1 })
    this.provider.on('close', ({ event }) => this.closes.push(event.code))
    this.provider.on('message', ({ data }) => this.frames.push(new Uint8Array(data)))
  }

  destroy () {
    this.provider.destroy()
  }
}

class Replica extends Watched {
  constructor ({ name, token, awareness = true, options = {} }, socket) {
    super()
    this.doc = new Y.Doc()
    this.socket = socket
    this.token = token
    this.tokensGiven = 0
    this.scopes = []
    this.denials = []
    this.closes = []
    this.stateless = []
    this.counts = []
    const { HocuspocusProvider } = PROVIDERS[socket.version]
    this.provider = new HocuspocusProvider({
      name,
      document: this.doc,
      websocketProvider: socket.provider,
      broadcast: false,
      token: () => {
        this.tokensGiven += 1
        this.changed()
        return this.token
      },
      ...(awareness ? {} : { awareness: null }),
      ...options
    })
    const note = (list, of) => (event) => {
      list.push(of(event))
      this.changed()
    }
    this.provider.on('authenticated', note(this.scopes, () => this.provider.authorizedScope))
    this.provider.on('authenticationFailed', note(this.denials, ({ reason }) => reason))
    this.provider.on('close', note(this.closes, ({ event }) => event.reason))
    this.provider.on('stateless', note(this.stateless, ({ payload }) => payload))
    this.provider.on('unsyncedChanges', note(this.counts, () => this.provider.unsyncedChanges))
    for (const name of ['synced', 'status', 'open', 'disconnect']) this.provider.on(name, () => this.changed())
    socket.provider.on('message', () => queueMicrotask(() => this.changed()))
    this.doc.on('update', () => this.changed())
    this.provider.awareness?.on('change', () => this.changed())
    this.provider.attach?.() // 2.x attaches itself
  }

  destroy () {
    this.provider.destroy()
    this.doc.destroy()
  }
}

const sockets = new Map()
const replicas = new Map()

const CONDITIONS = {
  ...WATCHABLE,
  saved: (replica) => () => replica.provider.synced && !replica.provider.hasUnsyncedChanges,
  unsynced: (replica, { count }) => () => replica.provider.unsyncedChanges === count,
  offline: (replica) => () => replica.socket.provider.status !== 'connected',
  scopes: (replica, { count }) => () => replica.scopes.length >= count,
  denied: (replica, { count = 1 }) => () => replica.denials.length >= count,
  closed: (replica, { reason }) => () => replica.closes.includes(reason),
  stateless: (replica, { payload }) => () => replica.stateless.includes(payload),
  tokens: (replica, { count }) => () => replica.tokensGiven >= count,
  connections: (replica, { count }) => () => replica.socket.connections >= count
}

converse({
  socket: (command) => {
    const socket = new Socket(command)
    sockets.set(command.socket, socket)
    socket.provider.connect()
  },
  hangUp: ({ socket }) => named(sockets, socket).provider.disconnect(),
  call: ({ socket }) => { named(sockets, socket).provider.connect() },
  cut: ({ socket }) => named(sockets, socket).provider.webSocket?.terminate(),
  look: ({ socket }) => {
    const { closes, connections, frames } = named(sockets, socket)
    return { closes, connections, frames: frames.map(toBase64), uncaught }
  },

  open: (command) => {
    const replica = new Replica(command, named(sockets, command.socket))
    replicas.set(command.replica, replica)
    return { clientId: replica.doc.clientID, address: replica.provider.effectiveName ?? command.name }
  },
  destroy: ({ replica }) => {
    named(replicas, replica).destroy()
    replicas.delete(replica)
  },
  edit: ({ replica, operations }) => edit(named(replicas, replica).doc, operations),
  hold: ({ replica, token }) => { named(replicas, replica).token = token },
  forceSync: ({ replica }) => named(replicas, replica).provider.forceSync(),
  awareness: ({ replica, state }) => named(replicas, replica).provider.awareness.setLocalState(state),
  /** An edit that the server is never sent, and then one that rests on it. */
  skip: ({ replica, operations }) => {
    const { doc, provider } = named(replicas, replica)
    doc.off('update', provider.boundDocumentUpdateHandler)
    edit(doc, operations)
    doc.on('update', provider.boundDocumentUpdateHandler)
  },
  /** Bytes in the name of this document, behind the provider's back. */
  forge: ({ replica, address, frame }) => {
    const head = new Uint8Array(Buffer.from(address))
    const bytes = fromBase64(frame)
    named(replicas, replica).socket.provider.webSocket.send(new Uint8Array([head.length, ...head, ...bytes]))
  },
  /** kill -9 in the very turn in which the provider says that everything is saved. */
  killWhenSaved: async ({ replica, operations, pid, seconds }) => {
    const { doc, provider } = named(replicas, replica)
    await new Promise((resolve, reject) => {
      const deadline = setTimeout(() => reject(new Error(`not saved in ${seconds} s`)), seconds * 1000)
      const hear = () => {
        if (provider.hasUnsyncedChanges) return
        process.kill(pid, 'SIGKILL')
        provider.off('unsyncedChanges', hear)
        clearTimeout(deadline)
        resolve()
      }
      edit(doc, operations)
      provider.on('unsyncedChanges', hear)
    })
  },
  wait: ({ replica, until, seconds, ...condition }) => {
    const watched = named(replicas, replica)
    return watched.until(CONDITIONS[until](watched, condition), seconds)
  },
  dump: ({ replica }) => {
    const { doc, provider, scopes, denials, closes, stateless, counts, tokensGiven } = named(replicas, replica)
    return {
      content: read(doc),
      stateVector: toBase64(Y.encodeStateVector(doc)),
      unsynced: provider.unsyncedChanges,
      synced: provider.synced,
      names: names(named(replicas, replica)),
      scopes,
      denials,
      closes,
      stateless,
      counts,
      tokensGiven
    }
  }
})
