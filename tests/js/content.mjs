// The roots the tests write to, how they are written, and how they are read back for comparison.
import * as Y from 'yjs'

export const ROOTS = {
  title: 'text',
  description: 'text',
  fields: 'map',
  labels: 'map',
  comments: 'map',
  items: 'array',
  page: 'xml'
}

export const root = (doc, name) => {
  switch (ROOTS[name]) {
    case 'text': return doc.getText(name)
    case 'map': return doc.getMap(name)
    case 'array': return doc.getArray(name)
    case 'xml': return doc.getXmlFragment(name)
    default: throw new Error(`unknown root ${name}`)
  }
}

const edits = {
  insert: (doc, { root: name, at, text, attributes }) => root(doc, name).insert(at, text, attributes),
  append: (doc, { root: name, text }) => root(doc, name).insert(root(doc, name).length, text),
  delete: (doc, { root: name, at, length }) => root(doc, name).delete(at, length),
  format: (doc, { root: name, at, length, attributes }) => root(doc, name).format(at, length, attributes),
  set: (doc, { root: name, key, value }) => root(doc, name).set(key, value),
  unset: (doc, { root: name, key }) => root(doc, name).delete(key),
  push: (doc, { root: name, values }) => root(doc, name).push(values),
  comment: (doc, { key, author, body }) => root(doc, 'comments').set(key, new Y.Map([
    ['author', author],
    ['createdAt', '2026-01-01T00:00:00.000Z'],
    ['body', new Y.Text(body)]
  ]))
}

/** Applies the operations in one transaction. Positions are UTF-16 units, as everywhere in Yjs. */
export const edit = (doc, operations) => doc.transact(() => {
  for (const operation of operations) edits[operation.op](doc, operation)
})

/** What a reader sees, in a form two replicas can be compared by. */
export const read = (doc) => {
  const seen = {}
  for (const [name, type] of Object.entries(ROOTS)) {
    const value = root(doc, name)
    if (type === 'text') seen[name] = { text: value.toString(), delta: value.toDelta() }
    else if (type === 'xml') seen[name] = value.toString()
    else seen[name] = value.toJSON()
  }
  return seen
}
