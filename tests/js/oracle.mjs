// Yjs as the judge: seeded concurrent programs with their updates and outcome, and what Yjs makes of given bytes.
import * as Y from 'yjs'
import { read, root } from './content.mjs'
import { converse, fromBase64, toBase64 } from './dialogue.mjs'
import { generator } from './typist.mjs'

const WORDS = ['a', 'issue ', 'naïve', '日本', '😀', '👩‍👩‍👧', '\n', '𝒳', 'long enough to be split ', 'é']
const VALUES = ['open', 7, -1.5, true, null, 'très 😀', [1, 'two'], { deep: { er: [null] } }, new Uint8Array([0, 255]), '']
const KEYS = ['status', 'priority', 'userId', 'odd', 'π']
const MARKS = [{ bold: true }, { bold: null }, { link: { href: 'x' } }]

class Program {
  /** `cuts`: also edit between the two halves of an astral character, as a naive diff does. */
  constructor ({ seed, clients, steps, cuts }) {
    this.random = generator(seed)
    this.cuts = cuts
    this.updates = []
    this.replicas = Array.from({ length: clients }, (_, position) => this.replica(position, seed))
    for (let step = 0; step < steps; step++) this.step()
  }

  /** What a replica writes itself is recorded in the order of writing, over all replicas. */
  replica (position, seed) {
    const doc = new Y.Doc()
    doc.clientID = seed * 16 + position + 1
    doc.on('update', (update, origin) => {
      if (origin !== 'merge') this.updates.push({ client: doc.clientID, update: toBase64(update) })
    })
    return doc
  }

  pick (choices) {
    return choices[this.random(choices.length)]
  }

  step () {
    const doc = this.pick(this.replicas)
    if (this.random(4) === 0) return this.merge(doc, this.pick(this.replicas))
    doc.transact(() => {
      for (let edits = 1 + this.random(3); edits > 0; edits--) this.pick(EDITS)(this, doc)
    })
  }

  merge (into, from) {
    Y.applyUpdate(into, Y.encodeStateAsUpdate(from, Y.encodeStateVector(into)), 'merge')
  }

  /** The outcome is that of a reader of the updates: a format that changes nothing still cuts a character in its author's
   *  own replica, and Yjs tells nobody. */
  outcome () {
    const reader = new Y.Doc()
    for (const { update } of this.updates) Y.applyUpdate(reader, fromBase64(update))
    return { updates: this.updates, ...verdict(Y.encodeStateAsUpdate(reader)) }
  }

  /** A place in a text; without `cuts` never inside an astral character. */
  place (text) {
    const at = this.random(text.length + 1)
    return this.cuts ? at : boundary(text.toString(), at)
  }
}

/** An index into a Y.Text counts UTF-16 units of its string and one for every embedded object: none are embedded. */
const boundary = (string, at) => (string.charCodeAt(at) & 0xfc00) === 0xdc00 ? at - 1 : at

const typeText = (program, text) => text.insert(program.place(text), program.pick(WORDS))


/** Deletes up to twelve units; without `cuts` both ends stay on whole characters. */
const eraseText = (program, text) => {
  const from = program.place(text)
  const to = Math.min(text.length, from + program.random(12))
  const end = program.cuts ? to : boundary(text.toString(), to)
  if (end > from) text.delete(from, end - from)
}

const formatText = (program, text) => {
  const [one, two] = [program.place(text), program.place(text)]
  if (one !== two) text.format(Math.min(one, two), Math.abs(one - two), program.pick(MARKS))
}

const setKey = (program, map) => map.set(program.pick(KEYS), program.pick(VALUES))

const nest = (program) => {
  const inner = new Y.Map()
  inner.set('body', new Y.Text(program.pick(WORDS)))
  inner.set('list', Y.Array.from(['x', program.pick(VALUES)]))
  return inner
}

const editNested = (program, doc) => {
  const inner = program.pick([...root(doc, 'comments').values()])
  if (!(inner instanceof Y.Map)) return
  const [body, list] = [inner.get('body'), inner.get('list')]
  if (body instanceof Y.Text) typeText(program, body)
  if (list instanceof Y.Array) list.insert(program.random(list.length + 1), [nest(program)])
}

const growTree = (program, doc) => {
  const element = new Y.XmlElement(program.pick(['p', 'h1']))
  element.setAttribute('class', program.pick(KEYS))
  element.insert(0, [new Y.XmlText(program.pick(WORDS))])
  const page = root(doc, 'page')
  const children = page.toArray().filter((child) => child instanceof Y.XmlElement)
  const parent = children.length > 0 && program.random(2) === 0 ? program.pick(children) : page
  parent.insert(program.random(parent.length + 1), [element])
}

const EDITS = [
  (program, doc) => typeText(program, root(doc, 'description')),
  (program, doc) => typeText(program, root(doc, 'description')),
  (program, doc) => typeText(program, root(doc, 'title')),
  (program, doc) => eraseText(program, root(doc, 'description')),
  (program, doc) => formatText(program, root(doc, 'description')),
  (program, doc) => setKey(program, root(doc, 'fields')),
  (program, doc) => root(doc, 'fields').delete(program.pick(KEYS)),
  (program, doc) => root(doc, 'labels').set(program.pick(KEYS), true),
  (program, doc) => root(doc, 'comments').set(program.pick(KEYS), nest(program)),
  editNested,
  (program, doc) => root(doc, 'items').insert(program.random(root(doc, 'items').length + 1), [program.pick(VALUES)]),
  (program, doc) => root(doc, 'items').push([nest(program)]),
  (program, doc) => {
    const items = root(doc, 'items')
    if (items.length > 0) items.delete(program.random(items.length), 1)
  },
  growTree,
  (program, doc) => {
    const page = root(doc, 'page')
    if (page.length > 0) page.delete(program.random(page.length), 1)
  }
]

/** What Yjs reads in `update`; `pending` tells of structs or deletions whose causes are missing. */
const verdict = (update) => {
  const doc = new Y.Doc()
  Y.applyUpdate(doc, update)
  return {
    content: read(doc),
    stateVector: Object.fromEntries(Y.decodeStateVector(Y.encodeStateVector(doc))),
    pending: doc.store.pendingStructs !== null || doc.store.pendingDs !== null
  }
}

converse({
  programs: ({ seed, count, clients, steps, cuts }) => Array.from({ length: count }, (_, offset) =>
    new Program({ seed: seed + offset, clients: clients + (seed + offset) % 3, steps, cuts }).outcome()),
  verify: ({ updates }) => updates.map((update) => verdict(fromBase64(update)))
})
