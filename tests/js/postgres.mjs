// A Postgres with pg_trgm, which the embedded one has not: PGlite, Postgres compiled to WebAssembly, in memory and on a
// free port. It has one session, so one client at a time; and it takes no TLS.
import { once } from 'node:events'
import { createServer } from 'node:net'
import { PGlite } from '@electric-sql/pglite'
import { pg_trgm } from '@electric-sql/pglite/contrib/pg_trgm'
import { converse } from './dialogue.mjs'

const TERMINATE = 'X'.charCodeAt(0)
const LENGTH_BYTES = 4

const database = await PGlite.create({ extensions: { pg_trgm } })

/** Hands over whole messages of the wire protocol; the first one of a connection has no type before its length. */
const serve = (client) => {
  let waiting = Buffer.alloc(0)
  let typeBytes = 0
  let answered = Promise.resolve()
  client.on('data', (bytes) => {
    waiting = Buffer.concat([waiting, bytes])
    while (waiting.length >= typeBytes + LENGTH_BYTES) {
      const length = typeBytes + waiting.readInt32BE(typeBytes)
      if (waiting.length < length) return
      const message = new Uint8Array(waiting.subarray(0, length))
      const isLast = typeBytes > 0 && message[0] === TERMINATE
      answered = answered.then(async () => {
        if (isLast) client.end()
        else client.write(await database.execProtocolRaw(message))
      })
      waiting = waiting.subarray(length)
      typeBytes = 1
    }
  })
  client.on('error', () => client.destroy())
}

const server = createServer(serve)
server.listen(0, '127.0.0.1')
await once(server, 'listening')
converse({ port: () => server.address().port })
