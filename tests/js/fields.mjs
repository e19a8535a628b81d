// Many replicas of many issues, each a Yjs document that hears and sets fields when it is told to.
import * as Y from 'yjs'
import { converse, fromBase64, toBase64 } from './dialogue.mjs'

const replicas = new Map()

const named = (client) => {
  let doc = replicas.get(client)
  if (doc === undefined) {
    doc = new Y.Doc()
    doc.clientID = client
    replicas.set(client, doc)
  }
  return doc
}

/** The update that says just this, and what the replica showed there before; undefined becomes null. */
const set = (doc, key, value) => {
  let written = null
  const keep = (update) => { written = toBase64(update) }
  const fields = doc.getMap('fields')
  const replaced = fields.get(key) ?? null
  doc.once('update', keep)
  fields.set(key, value)
  return { update: written, replaced }
}

/** The update that says just this; `replaced` is the title before, null where there is none. */
const type = (doc, text) => {
  let written = null
  const keep = (update) => { written = toBase64(update) }
  const title = doc.getText('title')
  const replaced = title.toString() || null
  doc.once('update', keep)
  title.insert(0, text)
  return { update: written, replaced }
}

converse({
  /** Each step: a replica learns updates, then sets a field, or types in front of the title, if it is to. */
  steps: ({ steps }) => steps.map(({ client, learn, key, value }) => {
    const doc = named(client)
    for (const update of learn) Y.applyUpdate(doc, fromBase64(update))
    if (key === null) return null
    return key === 'title' ? type(doc, value) : set(doc, key, value)
  }),
  fields: ({ clients }) => clients.map((client) => named(client).getMap('fields').toJSON()),
  titles: ({ clients }) => clients.map((client) => named(client).getText('title').toString()),
  forget: () => replicas.clear()
})
