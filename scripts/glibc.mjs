// Which glibc an ELF file needs: the latest version that it asks the dynamic linker for. `readelf` reads it, which comes with the
// linker that Rust uses on Linux.
//
//   node scripts/glibc.mjs <at most> <file>...    fails where a file needs a later version

import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** Versions that go by another name than their number: that of compact relocations came with 2.36. */
const NAMED = { ABI_DT_RELR: '2.36' }

/**
 * The latest version of glibc that the file is bound to: `'2.28'`; `undefined` where it needs none. The dynamic linker refuses
 * the file where its C library lacks one, except those that are marked as weak.
 *
 * @throws {Error} where the file is no ELF file, or there is no `readelf`
 */
export function neededGlibc(file) {
  const versions = [...readelf('--version-info', file).matchAll(/ Name: GLIBC_(\S+) +Flags: (\S+)/g)]
    .filter(([, , flags]) => flags !== 'WEAK')
    .map(([, version]) => NAMED[version] ?? version)
  return versions.sort(compare).at(-1)
}

/** Whether a version is not later than another; `undefined`, which is none, is not. */
export const isAtMost = (version, limit) => version === undefined || compare(version, limit) <= 0

const compare = (a, b) => a.localeCompare(b, 'en', { numeric: true })

/** The symbols of the file that need a later version than `limit`, each with what it needs: `['dlsym@GLIBC_2.34']`. */
function symbolsBeyond(limit, file) {
  const symbols = [...readelf('--dyn-syms', file).matchAll(/ UND (\S+?)@+(GLIBC_([\d.]+))/g)]
  return symbols.filter(([, , , version]) => !isAtMost(version, limit)).map(([, name, version]) => `${name}@${version}`)
}

function readelf(what, file) {
  const env = { ...process.env, LC_ALL: 'C' }
  return execFileSync('readelf', ['--wide', what, file], { env, encoding: 'utf8', maxBuffer: 1 << 26, stdio: 'pipe' })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [limit, ...files] = process.argv.slice(2)
  for (const file of files) {
    const needed = neededGlibc(file)
    console.log(`${file}: needs glibc ${needed ?? 'of no version'}, may need ${limit}`)
    if (isAtMost(needed, limit)) continue
    console.error(symbolsBeyond(limit, file).join('\n'))
    process.exitCode = 1
  }
}
