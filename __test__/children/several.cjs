'use strict'
// Callers that take sets of names, or permits, at random, and note in the database who is inside.

const { setTimeout: sleep } = require('node:timers/promises')
const pg = require('pg')
const entry = require('../../v2.js')

const [connectionString, kind, seed, callers, milliseconds] = process.argv.slice(2)
const deadline = performance.now() + Number(milliseconds)
const waits = []
const failures = {}
let sections = 0

async function main() {
  const { choices } = await import('../support/random.mjs')
  await Promise.all(Array.from({ length: Number(callers) }, (_, index) => call(choices(Number(seed) * 1000 + index))))
  process.send({ waits, sections, failures })
  process.disconnect()
}

async function call(random) {
  const client = new pg.Client({ connectionString, application_name: 'plain client' })
  await client.connect()
  const createMutex = entry(connectionString)
  while (performance.now() < deadline) {
    const limits = {}
    if (random.chance(10)) limits.timeout = random.between(0, 50)
    if (random.chance(10)) limits.signal = AbortSignal.timeout(random.between(1, 30))
    await visit(kind === 'all' ? allOf(createMutex, random) : permit(createMutex), client, random, limits)
  }
  await createMutex.close()
  await client.end()
}

function allOf(createMutex, random) {
  const names = new Set()
  const count = random.between(2, 8)
  while (names.size < count) names.add(random.between(1, 64))
  return { mutex: createMutex.all([...names].map((name) => `name ${name}`)), rooms: [...names], most: 1 }
}

const permit = (createMutex) => ({ mutex: createMutex.semaphore('pool', 5), rooms: [0], most: 5 })

async function visit({ mutex, rooms, most }, client, random, limits) {
  const begin = performance.now()
  let unlock
  try {
    unlock = await mutex.lock(limits)
  } catch (error) {
    const code = error.code ?? error.name
    if (!['ERR_LOCK_TIMEOUT', 23].includes(code)) throw error
    failures[code] = (failures[code] ?? 0) + 1
    return
  }
  waits.push(performance.now() - begin)
  const { rows } = await client.query(
    'UPDATE room SET inside = inside + 1, most = greatest(most, inside + 1) WHERE id = ANY($1) RETURNING inside',
    [rooms],
  )
  if (rows.some(({ inside }) => inside > most)) throw new Error(`more than ${most} inside: ${JSON.stringify(rows)}`)
  if (random.chance(30)) await sleep(random.between(1, 5))
  if (kind === 'semaphore') await sleep(40)
  await client.query('UPDATE room SET inside = inside - 1 WHERE id = ANY($1)', [rooms])
  sections++
  await unlock()
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
