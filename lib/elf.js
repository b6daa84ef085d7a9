'use strict'

const ARCHES = { 62: 'x64', 183: 'arm64' }
const LOADED = 1

/**
 * What the head of an ELF file of 64 bits says: for which processor it is, and the end of what is loaded of it.
 *
 * @param {Buffer} head its first bytes: the header and the table of its parts
 * @returns {{ arch: string, end: number } | undefined} `undefined`: it is no such file
 */
function readElf(head) {
  if (head.length < 64 || head.toString('latin1', 0, 6) !== '\x7fELF\x02\x01') return undefined
  const [table, size, count] = [Number(head.readBigUInt64LE(32)), head.readUInt16LE(54), head.readUInt16LE(56)]
  let end = table + size * count
  for (let at = table; at + 56 <= head.length && at < table + size * count; at += size) {
    if (head.readUInt32LE(at) !== LOADED) continue
    end = Math.max(end, Number(head.readBigUInt64LE(at + 8)) + Number(head.readBigUInt64LE(at + 32)))
  }
  return { arch: ARCHES[head.readUInt16LE(18)] ?? 'another processor', end }
}

module.exports = { readElf }
