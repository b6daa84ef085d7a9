// The addon as a file: what it says of the machine that built it, whose work is linked into it, what it needs to be loaded.

import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { homedir, userInfo } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isAtMost, neededGlibc } from '../scripts/glibc.mjs'
import { LICENCES_FILE, licencesOf } from '../scripts/licences.mjs'
import { binaryName, hostTarget, targets } from '../scripts/targets.mjs'
import { emptyProject, root } from './support/package.mjs'

const target = hostTarget()
const { platform, libc } = targets[target]
const addon = join(root, binaryName(platform))
const content = (await readFile(addon)).toString('latin1')
const licences = await readFile(join(root, LICENCES_FILE), 'utf8')

test('it contains no path of the machine that built it', () => {
  const sysroot = execFileSync('rustc', ['--print', 'sysroot'], { encoding: 'utf8' }).trim()
  const places = { home: homedir(), project: root.replace(/[\\/]$/, ''), cargo: process.env.CARGO_HOME, rustc: sysroot }
  for (const [name, path] of Object.entries(places)) {
    if (path && path !== '/') assert.equal(content.indexOf(path), -1, `the folder of ${name}: …${around(path)}…`)
  }
  assert.match(content, /cargo\/registry\/src\/[^/]+\/tokio-\d/, 'where a panic happened can still be told')
  const { username } = userInfo()
  assert.doesNotMatch(content, new RegExp(`/(home|Users)/${username}/`))
})

const around = (text) => content.slice(content.indexOf(text) - 40, content.indexOf(text) + 160)

test('each crate that is linked is named with its licence, and its text is there', () => {
  // By the binary itself: the crates that can panic.
  const inBinary = [...content.matchAll(/cargo\/registry\/src\/[^/]+\/([\w-]+?)-(\d+\.\d+[\w.+-]*)\//g)].map(([, name, version]) => `${name} ${version}`)
  // By another word of cargo than the one that the list is made of.
  const parameters = ['tree', '--locked', '--edges=normal,no-proc-macro', `--target=${target}`, '--prefix=none', '--format={p}']
  const tree = execFileSync('cargo', parameters, { cwd: root, encoding: 'utf8' })
  const inTree = [...tree.matchAll(/^(\S+) v(\S+)(?! \(\/| \(.*advisory-lock-native\))/gm)].map(([, name, version]) => `${name} ${version}`)
  const crates = [...new Set([...inBinary, ...inTree])].filter((crate) => !crate.startsWith('advisory-lock-native '))
  assert.ok(new Set(inBinary).size > 10 && inTree.length > 50, 'crates were found')
  const [list] = licences.split('='.repeat(80))
  const heads = [...licences.matchAll(/^={80}\n(.*)\n-{80}\n/gm)].flatMap(([, names]) => names.split(', '))
  for (const crate of crates) {
    assert.match(list, new RegExp(`^${crate.replaceAll(/[.+]/g, '\\$&')}: \\S`, 'm'), `${crate} is named`)
    assert.ok(heads.includes(crate), `${crate} has a text`)
  }
})

test("Rust's standard library is named as well, where the compiler says what is in it", () => {
  const sysroot = execFileSync('rustc', ['--print', 'sysroot'], { encoding: 'utf8' }).trim()
  if (!existsSync(join(sysroot, 'share/doc/rust/COPYRIGHT-library.html'))) {
    assert.throws(() => licencesOf(target, { isComplete: true }), { code: 'ENOENT' })
    return
  }
  assert.match(licences, /^Rust's standard library \d+\.\d+\.\d+: /m)
  assert.match(licences, /^hashbrown \d.*\n(.*\n)*gimli \d/m)
})

test('the texts are licences, and each comes once', () => {
  const [, ...parts] = licences.split(/^={80}\n(.*\n)-{80}\n/m)
  const texts = parts.filter((_, index) => index % 2 === 1).map((text) => text.trim())
  assert.equal(new Set(texts).size, texts.length)
  const textsOf = (crate) => parts.filter((_, index) => index % 2 === 1 && parts[index - 1].trim().split(', ').includes(crate))
  for (const crate of parts.filter((_, index) => index % 2 === 0).flatMap((names) => names.trim().split(', '))) {
    assert.ok(textsOf(crate).some((text) => text.length > 300 && /permission|conditions|licen[cs]e/i.test(text)), crate)
  }
  assert.match(licences, /^napi \d.*\n-{80}\nCopyright \(c\) .+\n\nPermission is hereby granted/m, 'the licence that a crate names, where it brings no text')
})

test('they are those of the lock file: nothing has changed since the build', () => {
  assert.equal(licences, licencesOf(target))
})

test('the project itself is not among the third parties', () => {
  assert.doesNotMatch(licences.split('\n').slice(1).join('\n'), /^advisory-lock-native /m)
})

if (libc === 'glibc') {
  test('which glibc it needs is read from the file', () => {
    const needed = neededGlibc(addon)
    // The names of the versions, wherever they lie in the file: the reader may not miss the latest.
    const named = [...content.matchAll(/\0GLIBC_(\d+(?:\.\d+)+)(?=\0)/g)].map(([, version]) => version)
    assert.equal(needed, named.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1))
    assert.ok(isAtMost(needed, process.report.getReport().header.glibcVersionRuntime), 'it can be loaded here')
  })

  test('versions are compared as numbers', () => {
    assert.ok(isAtMost('2.9', '2.28') && isAtMost('2.28', '2.28') && isAtMost('2.2.5', '2.3') && isAtMost(undefined, '2.28'))
    assert.ok(!isAtMost('2.34', '2.28') && !isAtMost('2.28.1', '2.28') && !isAtMost('3.0', '2.28'))
  })

  test('the check of a release fails where a file needs a later version, and says which symbols do', async () => {
    const folder = await emptyProject()
    const sources = {
      // A symbol as old as glibc for this processor, one that this machine's C library has in no older version, and none.
      old: 'int abs(int); int ours(int n) { return abs(n); }',
      young: 'int gettid(void); int ours(void) { return gettid(); }',
      none: 'int ours(void) { return 1; }',
    }
    const results = {}
    for (const [name, source] of Object.entries(sources)) {
      const [code, library] = [join(folder, `${name}.c`), join(folder, `${name}.so`)]
      await writeFile(code, source)
      // Nothing of the compiler's own, which may need another version.
      const start = name === 'none' ? ['-nostdlib'] : ['-nostartfiles']
      execFileSync('cc', ['-shared', '-fPIC', ...start, '-o', library, code])
      const { status, stderr } = spawnSync(process.execPath, [join(root, 'scripts/glibc.mjs'), '2.28', library], { encoding: 'utf8' })
      results[name] = { needed: neededGlibc(library), status, stderr: stderr.trim() }
    }
    assert.deepEqual(results.old.status, 0)
    assert.deepEqual(results.young, { needed: '2.30', status: 1, stderr: 'gettid@GLIBC_2.30' })
    assert.deepEqual(results.none, { needed: undefined, status: 0, stderr: '' })
  })

  test('what is no ELF file is an error', () => {
    assert.throws(() => neededGlibc(join(root, 'README.md')), /Not an ELF file|failed/)
  })
}
