// The examples of README and docs/: fenced blocks, with what a comment before each says of how it is tried.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './package.mjs'

/** The pages that have examples, as paths from the root. */
export const pages = ['README.md', ...readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)]

export const readPage = (page) => readFileSync(join(root, page), 'utf8')

/**
 * The fenced blocks of a page: language, text, line, and the words of the comment `<!-- example: … -->` above.
 */
export function examplesOf(page) {
  const examples = []
  let open
  let directive
  readPage(page).split('\n').forEach((line, index) => {
    const fence = /^ *```(\S*)/.exec(line)
    if (open && fence) {
      examples.push({ ...open, text: open.lines.join('\n') })
      open = undefined
    } else if (open) {
      open.lines.push(line)
    } else if (fence) {
      open = { page, line: index + 1, language: fence[1], directive: directive ?? '', lines: [] }
      directive = undefined
    } else if (line.trim() !== '') {
      directive = /^<!-- example: (.*) -->$/.exec(line)?.[1]
    }
  })
  return examples
}
