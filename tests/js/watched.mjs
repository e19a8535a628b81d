// A document behind a provider, watched so that tests wait for conditions instead of time.
import * as Y from 'yjs'
import { fromBase64 } from './dialogue.mjs'

/** What subclasses add: `doc`, `provider`, and a call of `changed` whenever a condition may have come true. */
export class Watched {
  watchers = new Set()

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
}

const covers = (doc, stateVector) => {
  const mine = Y.decodeStateVector(Y.encodeStateVector(doc))
  return [...Y.decodeStateVector(stateVector)].every(([client, clock]) => (mine.get(client) ?? 0) >= clock)
}

/** Presence as this replica sees it, by client id. */
export const states = ({ provider }) => Object.fromEntries(provider.awareness?.getStates() ?? [])
export const names = (watched) => Object.values(states(watched)).map((state) => state?.name)

/** Conditions of any `Watched`, with the arguments of the command that waits. */
export const WATCHABLE = {
  synced: ({ provider }) => () => provider.synced,
  contains: ({ doc }, { root, text }) => () => doc.getText(root).toString().includes(text),
  covers: ({ doc }, { stateVector }) => () => covers(doc, fromBase64(stateVector)),
  present: (watched, { name }) => () => names(watched).includes(name),
  absent: (watched, { name }) => () => !names(watched).includes(name)
}

export const named = (map, name) => {
  if (!map.has(name)) throw new Error(`nobody called ${name}`)
  return map.get(name)
}
