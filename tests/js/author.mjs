// One author of a recorded session, replaying it live through an unmodified y-websocket provider.
//
// The recording says for every transaction which state it was made on, and the other author's edits arrive whenever they
// do. So an author has two documents. `net` belongs to the provider and takes everything at once. `work` is where this
// author writes; it takes the other's edits only as far as the next own transaction had seen them. What is written in
// `work` goes to `net`, and from there to the server.
//
// What the other one needs ends at known transactions, the stops. There the writer leaves a mark in the same Yjs
// transaction (root map `replay`, agent → transactions so far) and writes on only when the other's presence says that the
// mark has arrived: what reaches `net` between two marks is then exactly one such part, however the server merged it.
//
// Author 0 takes the lower client id. One place of `friendsforever` depends on that order in Yjs, with no server at all:
// at 3,798 the recording ends with ", huh?", and Yjs arrives there only when author 0 has the lower one (measured).
import { WebSocket } from 'ws'
import * as Y from 'yjs'
import { WebsocketProvider as Provider3 } from 'y-websocket'
import { WebsocketProvider as Provider2 } from 'y-websocket-2'
import { readFileSync } from 'node:fs'
import { announce, converse, toBase64 } from './dialogue.mjs'

const ROOT = 'description'
const REPORT_EVERY = 50
const HALF_OF_IDS = 2 ** 31
const ASTRAL = /[\ud800-\udbff]/

class Author {
  /** `steps`: [{ sees, stop, patches: [[position, deleted, inserted]] }], see bench/session.py. */
  constructor ({ agent, other, title, steps, total }) {
    this.key = String(agent)
    this.otherKey = String(other)
    this.title = title
    this.steps = steps
    this.total = total // how many transactions the other one makes
    this.net = new Y.Doc()
    this.work = new Y.Doc()
    this.work.clientID = agent * HALF_OF_IDS + Math.floor(Math.random() * HALF_OF_IDS)
    this.arriving = [] // updates since the last mark
    this.parts = [] // { through, updates }, not yet in `work`
    this.arrived = 0 // the other's transactions in `net`, as of their last mark
    this.merged = 0 // and in `work`
    this.confirmed = 0 // own transactions the other one has
    this.wake = () => {}
    this.connections = 0
  }

  connect ({ version, url, room, params }) {
    const Provider = version === 2 ? Provider2 : Provider3
    this.provider = new Provider(url, room, this.net, {
      WebSocketPolyfill: WebSocket, params, disableBc: true, connect: false
    })
    this.work.on('update', (update, origin) => { if (origin !== this) Y.applyUpdate(this.net, update, this) })
    this.net.on('update', (update, origin) => { if (origin === this.provider) this.receive(update) })
    this.provider.awareness.on('change', () => this.hear())
    this.provider.on('status', ({ status }) => {
      if (status !== 'connected') return
      this.connections += 1
      this.confirm() // the server that heard it last may be gone
    })
    this.provider.on('sync', () => this.wake())
    this.provider.connect()
  }

  receive (update) {
    this.arriving.push(update)
    const through = this.net.getMap('replay').get(this.otherKey) ?? 0
    if (through === this.arrived) return
    this.parts.push({ through, updates: this.arriving })
    this.arriving = []
    this.arrived = through
    this.confirm()
    this.wake()
  }

  confirm () {
    this.provider.awareness.setLocalState({ agent: this.key, arrived: this.arrived })
  }

  hear () {
    for (const state of this.provider.awareness.getStates().values()) {
      if (state.agent === this.otherKey && state.arrived > this.confirmed) this.confirmed = state.arrived
    }
    this.wake()
  }

  async until (holds) {
    while (!holds()) await new Promise((resolve) => { this.wake = resolve })
  }

  async play () {
    let stop = 0
    for (const [position, step] of this.steps.entries()) {
      await this.see(step.sees)
      await this.until(() => this.confirmed >= stop)
      this.write(position, step)
      if (step.stop) stop = position + 1
      if (position % REPORT_EVERY === 0) announce('progress', { agent: this.key, done: position + 1 })
    }
    announce('progress', { agent: this.key, done: this.steps.length })
    await this.see(this.total)
    await this.until(() => this.confirmed >= stop && this.provider.synced)
  }

  /** Brings `work` to exactly the other's first `count` transactions. */
  async see (count) {
    while (this.merged < count) {
      await this.until(() => this.parts.length > 0)
      const part = this.parts.shift()
      this.work.transact(() => { for (const update of part.updates) Y.applyUpdate(this.work, update, this) }, this)
      this.merged = part.through
    }
    if (this.merged > count) throw new Error(`author ${this.key} has seen ${this.merged} instead of ${count}`)
  }

  write (position, { patches, stop }) {
    const text = this.work.getText(ROOT)
    this.work.transact(() => {
      if (position === 0 && this.title) this.work.getText('title').insert(0, this.title)
      for (const [at, deleted, inserted] of patches) {
        const [from, to] = units(text, at, at + deleted)
        if (to > from) text.delete(from, to - from)
        if (inserted) text.insert(from, inserted)
      }
      if (stop) this.work.getMap('replay').set(this.key, position + 1)
    })
  }

  outcome () {
    return {
      work: this.work.getText(ROOT).toString(),
      net: this.net.getText(ROOT).toString(),
      stateVector: toBase64(Y.encodeStateVector(this.net)),
      connections: this.connections
    }
  }
}

/** Code points → UTF-16 units; they differ only where the text has astral characters before the position. */
const units = (text, ...positions) => {
  const string = text.toString()
  if (!ASTRAL.test(string)) return positions
  return positions.map((position) => {
    let unit = 0
    for (let left = position; left > 0; left--) unit += string.codePointAt(unit) > 0xffff ? 2 : 1
    return unit
  })
}

let author
converse({
  replay: async ({ session, ...address }) => {
    author = new Author(JSON.parse(readFileSync(session, 'utf8')))
    author.connect(address)
    await author.play()
    return author.outcome()
  }
})
