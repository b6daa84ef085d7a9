// Every example of README and docs/ does what it says, on a real server; and the pages keep their form.
//
// `js` blocks run as modules of a project that has the package: they end by themselves, unless the comment above says
// `example: stopped`: then SIGTERM ends them once they hold a lock. A `text` block right behind a `js` block is what it prints.
// `ts` blocks are type-checked. `sql` blocks run on the database. `console` and `json` blocks show what others try.

import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openDatabase, until } from './support/database.mjs'
import { examplesOf, pages, readPage } from './support/examples.mjs'
import { emptyProject, node, root } from './support/package.mjs'

const database = await openDatabase()
await database.sql.query('CREATE TABLE jobs (id int); CREATE TABLE posts (id int, at timestamptz DEFAULT now())')
const project = await makeProject()
const world = fileURLToPath(new URL('children/example-world.mjs', import.meta.url))
let count = 0

/** A project that has installed the package, and what examples use besides. */
async function makeProject() {
  const folder = await emptyProject()
  await mkdir(join(folder, 'node_modules/@types'), { recursive: true })
  const link = (from, to) => symlink(from, join(folder, 'node_modules', to), 'junction')
  await link(root, 'advisory-lock-native')
  for (const name of ['pg', 'postgres', '@types/node', '@types/pg', '@opentelemetry']) await link(join(root, 'node_modules', name), name)
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'examples', private: true, type: 'module' }))
  return folder
}

const environment = () => ({ ...process.env, DATABASE_URL: database.connectionString, PG_CONNECTION_STRING: database.connectionString })

async function runExample({ text, directive, page, line }) {
  const file = join(project, `example-${++count}.mjs`)
  await writeFile(file, text)
  const child = fork(file, [], { execArgv: ['--import', world], env: environment(), silent: true })
  const output = { stdout: '', stderr: '' }
  for (const stream of ['stdout', 'stderr']) child[stream].on('data', (data) => (output[stream] += data))
  // The channel would keep the example alive.
  child.channel.unref()
  const ended = once(child, 'exit')
  const where = `${page}:${line}`
  if (directive.includes('stopped')) {
    await until(async () => child.exitCode !== null || (await database.lockCount()) > 0, `${where} holds a lock`)
    child.kill('SIGTERM')
  }
  const [status, signal] = await Promise.race([ended, once(AbortSignal.timeout(20_000), 'abort').then(() => [undefined, 'none'])])
  child.kill('SIGKILL')
  assert.deepEqual({ where, status, signal, stderr: output.stderr }, { where, status: 0, signal: null, stderr: '' })
  return output.stdout
}

for (const page of pages) {
  const examples = examplesOf(page)
  examples.forEach((example, index) => {
    const { directive, language, text, line } = example
    const next = examples[index + 1]
    const name = `${page}:${line} (${language})`
    if (directive.startsWith('tried by')) {
      test(`${name} is ${directive}`, () => assert.match(directive, /^tried by the tests of the test runners$/))
    } else if (language === 'js') {
      test(name, async () => {
        const printed = await runExample(example)
        if (next?.language === 'text' && next.line === line + text.split('\n').length + 3) assert.equal(printed.trimEnd(), next.text)
        assert.equal(await until(async () => (await database.lockCount()) === 0, 'nothing left locked'), undefined)
      })
    } else if (language === 'sql') {
      test(name, async () => {
        await database.sql.query(text)
      })
    } else if (language === 'ts') {
      test(name, async () => {
        const file = join(project, `example-${++count}.ts`)
        await writeFile(file, `${text}\nexport {}\n`)
        const options = ['--noEmit', '--strict', '--target', 'es2024', '--lib', 'es2024,esnext.disposable', '--module', 'nodenext', '--types', 'node', '--skipLibCheck']
        await node(project, [join(root, 'node_modules/typescript/bin/tsc'), ...options, file])
      })
    } else {
      test(`${name} is of a kind that is known`, () => assert.ok(['console', 'json', 'text', 'yaml', 'dockerfile'].includes(language)))
    }
  })

  test(`${page}: lines have at most 120 characters`, () => {
    const long = readPage(page).split('\n').filter((line) => line.length > 120 && !/^[|!]/.test(line) && !/https?:/.test(line))
    assert.deepEqual(long, [])
  })

  test(`${page}: links lead somewhere`, () => {
    const text = readPage(page).replaceAll(/^```[^]*?^```/gm, '')
    const links = [...text.matchAll(/\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)/gm)].map((match) => match[1] ?? match[2])
    const dead = links.filter((link) => !/^https?:/.test(link) && !leads(page, link))
    assert.deepEqual(dead, [])
  })
}

function leads(page, link) {
  const [path, anchor] = link.split('#')
  const target = path === '' ? page : join(dirname(page), path)
  if (!existsSync(join(root, target))) return false
  if (anchor === undefined || !target.endsWith('.md')) return true
  const headings = readPage(target).split('\n').filter((line) => line.startsWith('#'))
  return headings.some((heading) => slug(heading) === anchor)
}

/** The anchor that GitHub gives a heading. */
function slug(heading) {
  const text = heading.replace(/^#+ /, '').toLowerCase()
  return text.replaceAll(/[^\p{L}\p{N}\- _]/gu, '').replaceAll(' ', '-')
}
