// One JSON object a line: {id, do, ...} comes in, {id, result} or {id, error} goes out, {event, ...} goes out unasked.
import { createInterface } from 'node:readline'

const write = (message) => process.stdout.write(JSON.stringify(message) + '\n')

export const announce = (event, fields = {}) => write({ event, ...fields })

/** Answers lines on stdin with `handlers[do](command)` until it closes; commands may overlap. */
export const converse = (handlers) => {
  const lines = createInterface({ input: process.stdin })
  lines.on('line', async (line) => {
    const command = JSON.parse(line)
    try {
      const handler = handlers[command.do]
      if (handler === undefined) throw new Error(`unknown command ${command.do}`)
      write({ id: command.id, result: (await handler(command)) ?? null })
    } catch (error) {
      write({ id: command.id, error: error.stack ?? String(error) })
    }
  })
  lines.on('close', () => process.exit(0))
  announce('ready')
}

export const toBase64 = (bytes) => Buffer.from(bytes).toString('base64')
export const fromBase64 = (text) => new Uint8Array(Buffer.from(text, 'base64'))
