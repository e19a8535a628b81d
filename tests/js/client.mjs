// Many y-websocket peers in one process, driven over stdin. Run by tests/js/toolchain.py.
import * as Y from 'yjs'
import { edit, read, root } from './content.mjs'
import { converse, toBase64 } from './dialogue.mjs'
import { Peer } from './peer.mjs'
import { Typist } from './typist.mjs'
import { WATCHABLE, named, states } from './watched.mjs'

const peers = new Map()
const typists = new Map()

const CONDITIONS = {
  ...WATCHABLE,
  status: (peer, { status }) => () => peer.status === status,
  offline: (peer) => () => peer.status !== 'connected',
  connections: (peer, { count }) => () => peer.connections >= count,
  closed: (peer, { codes }) => () => peer.closes.some((code) => codes.includes(code)),
  stopped: (peer) => () => peer.stopped !== null,
  text: (peer, { root, text }) => () => peer.doc.getText(root).toString() === text,
  length: (peer, { root, length }) => () => peer.doc.getText(root).length >= length,
  commented: (peer, { key }) => () => peer.doc.getMap('comments').has(key),
  field: (peer, { key, value }) => () => peer.doc.getMap('fields').get(key) === value
}

converse({
  open: (command) => {
    const peer = new Peer(command)
    peers.set(command.replica, peer)
    return { clientId: peer.doc.clientID }
  },
  connect: (command) => named(peers, command.replica).provider.connect(),
  disconnect: (command) => named(peers, command.replica).provider.disconnect(),
  cut: (command) => named(peers, command.replica).cut(),
  deafen: (command) => named(peers, command.replica).deafen(command.deaf),
  destroy: (command) => {
    named(peers, command.replica).destroy()
    peers.delete(command.replica)
  },

  edit: (command) => edit(named(peers, command.replica).doc, command.operations),
  /** Edits, and takes that back as an editor does: what was deleted is written anew, by this replica. */
  editAndUndo: (command) => {
    const { doc } = named(peers, command.replica)
    const manager = new Y.UndoManager(command.roots.map((name) => root(doc, name)), { captureTimeout: 0 })
    edit(doc, command.operations)
    manager.undo()
    manager.destroy()
  },
  awareness: (command) => named(peers, command.replica).provider.awareness.setLocalState(command.state),
  states: (command) => states(named(peers, command.replica)),
  wait: (command) => {
    const peer = named(peers, command.replica)
    return peer.until(CONDITIONS[command.until](peer, command), command.seconds)
  },

  /** From now on each of the two documents hands the other what it learns, as two tabs of one browser do. */
  link: ({ first, second }) => {
    const [one, two] = [named(peers, first).doc, named(peers, second).doc]
    one.on('update', (update, origin) => { if (origin !== two) Y.applyUpdate(two, update, one) })
    two.on('update', (update, origin) => { if (origin !== one) Y.applyUpdate(one, update, two) })
  },

  dump: (command) => {
    const peer = named(peers, command.replica)
    return {
      content: read(peer.doc),
      stateVector: toBase64(Y.encodeStateVector(peer.doc)),
      update: toBase64(Y.encodeStateAsUpdate(peer.doc)),
      clientId: peer.doc.clientID,
      status: peer.status,
      synced: peer.provider.synced,
      connections: peer.connections,
      closes: peer.closes,
      stopped: peer.stopped
    }
  },

  type: (command) => { typists.set(command.replica, new Typist(named(peers, command.replica), command)) },
  /** How many words the typist has written so far. */
  typed: (command) => named(typists, command.replica).words,
  hush: (command) => {
    const typist = named(typists, command.replica)
    typist.stop()
    typists.delete(command.replica)
    return typist.words
  }
})
