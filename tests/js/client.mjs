// Many y-websocket peers in one process, driven over stdin. Run by tests/js/toolchain.py.
import * as Y from 'yjs'
import { edit, read } from './content.mjs'
import { converse, fromBase64, toBase64 } from './dialogue.mjs'
import { Peer } from './peer.mjs'
import { Typist } from './typist.mjs'

const peers = new Map()
const typists = new Map()

const named = (map, { peer }) => {
  if (!map.has(peer)) throw new Error(`no peer ${peer}`)
  return map.get(peer)
}

const covers = (doc, stateVector) => {
  const mine = Y.decodeStateVector(Y.encodeStateVector(doc))
  return [...Y.decodeStateVector(stateVector)].every(([client, clock]) => (mine.get(client) ?? 0) >= clock)
}

const states = (peer) => Object.fromEntries(peer.provider.awareness.getStates())

const CONDITIONS = {
  synced: (peer) => () => peer.provider.synced,
  status: (peer, { status }) => () => peer.status === status,
  offline: (peer) => () => peer.status !== 'connected',
  connections: (peer, { count }) => () => peer.connections >= count,
  closed: (peer, { codes }) => () => peer.closes.some((code) => codes.includes(code)),
  stopped: (peer) => () => peer.stopped !== null,
  text: (peer, { root, text }) => () => peer.doc.getText(root).toString() === text,
  contains: (peer, { root, text }) => () => peer.doc.getText(root).toString().includes(text),
  length: (peer, { root, length }) => () => peer.doc.getText(root).length >= length,
  field: (peer, { key, value }) => () => peer.doc.getMap('fields').get(key) === value,
  covers: (peer, { stateVector }) => () => covers(peer.doc, fromBase64(stateVector)),
  present: (peer, { name }) => () => Object.values(states(peer)).some((state) => state?.name === name),
  absent: (peer, { name }) => () => !Object.values(states(peer)).some((state) => state?.name === name)
}

converse({
  open: (command) => {
    const peer = new Peer(command)
    peers.set(command.peer, peer)
    return { clientId: peer.doc.clientID }
  },
  connect: (command) => named(peers, command).provider.connect(),
  disconnect: (command) => named(peers, command).provider.disconnect(),
  cut: (command) => named(peers, command).cut(),
  deafen: (command) => named(peers, command).deafen(command.deaf),
  destroy: (command) => {
    named(peers, command).destroy()
    peers.delete(command.peer)
  },

  edit: (command) => edit(named(peers, command).doc, command.operations),
  awareness: (command) => named(peers, command).provider.awareness.setLocalState(command.state),
  states: (command) => states(named(peers, command)),
  wait: (command) => {
    const peer = named(peers, command)
    return peer.until(CONDITIONS[command.until](peer, command), command.seconds)
  },

  /** From now on each of the two documents hands the other what it learns, as two tabs of one browser do. */
  link: ({ first, second }) => {
    const [one, two] = [named(peers, { peer: first }).doc, named(peers, { peer: second }).doc]
    one.on('update', (update, origin) => { if (origin !== two) Y.applyUpdate(two, update, one) })
    two.on('update', (update, origin) => { if (origin !== one) Y.applyUpdate(one, update, two) })
  },

  dump: (command) => {
    const peer = named(peers, command)
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

  type: (command) => { typists.set(command.peer, new Typist(named(peers, command), command)) },
  /** How many words the typist has written so far. */
  typed: (command) => named(typists, command).words,
  hush: (command) => {
    const typist = named(typists, command)
    typist.stop()
    typists.delete(command.peer)
    return typist.words
  }
})
