// Somebody who types words that can be recognised later, at a steady pace, whether the server is there or not.

export class Typist {
  /** Words look like `‹mark›17 `; they go to seeded random places of the description and are never deleted. */
  constructor (peer, { mark, milliseconds, seed }) {
    this.peer = peer
    this.mark = mark
    this.words = 0
    this.random = generator(seed)
    this.timer = setInterval(() => this.type(), milliseconds)
  }

  type () {
    const text = this.peer.doc.getText('description')
    const word = `${this.mark}${this.words} `
    const ends = [0, text.length]
    const content = text.toString()
    const space = content.indexOf(' ', this.random(text.length + 1))
    if (space >= 0) ends.push(space + 1)
    text.insert(ends[this.random(ends.length)], word)
    this.words += 1
    if (this.words % 10 === 0) this.peer.doc.getMap('fields').set('sessionId', word.trim())
  }

  stop () {
    clearInterval(this.timer)
  }
}

/** xorshift32: the same seed gives the same session on every machine; `next(n)` is in 0 … n-1. */
export const generator = (seed) => {
  let state = (seed * 2654435761 + 1) >>> 0 || 1
  return (bound) => {
    state ^= state << 13
    state >>>= 0
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state % bound
  }
}
