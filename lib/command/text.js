'use strict'

// Texts of others on a terminal: nothing in them moves the cursor or hides what comes behind, and columns stay in their place.

/** What a terminal may take for more than a character: control, direction and format characters, halves of characters, a mark alone. */
const UNSAFE = /^\p{M}|[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\\]/gu
/** East Asian wide and full-width characters, and those that are shown as pictures (Unicode's EastAsianWidth.txt). */
const WIDE =
  /[\u1100-\u115F\u231A\u231B\u2329\u232A\u2E80-\u303E\u3041-\uA4CF\uA960-\uA97F\uAC00-\uD7A3\uF900-\uFAFF\uFE10-\uFE19\uFE30-\uFE6F\uFF00-\uFF60\uFFE0-\uFFE6\u{16FE0}-\u{18DFF}\u{1AFF0}-\u{1B2FF}\u{1F200}-\u{1F2FF}\u{20000}-\u{3FFFD}\p{Emoji_Presentation}]/u
/** They share the place of the character before them. */
const WITHOUT_WIDTH = /\p{M}/u

const ELLIPSIS = '…'

/** The same text with every unsafe character spelled as in JavaScript. */
function escaped(text) {
  return text.replaceAll(UNSAFE, (character) => {
    if (character === '\\') return '\\\\'
    const code = character.codePointAt(0)
    if (code < 0x100) return `\\x${code.toString(16).padStart(2, '0')}`
    return code < 0x10000 ? `\\u${code.toString(16).padStart(4, '0')}` : `\\u{${code.toString(16)}}`
  })
}

/** How many columns of a terminal a text without unsafe characters takes. */
function widthOf(text) {
  let width = 0
  for (const character of text) width += widthOfCharacter(character)
  return width
}

function widthOfCharacter(character) {
  if (character <= '~') return 1
  if (WITHOUT_WIDTH.test(character)) return 0
  return WIDE.test(character) ? 2 : 1
}

/** The text in so many columns at the most: where it is longer, its middle is left out. */
function cutInTheMiddle(text, columns) {
  if (widthOf(text) <= columns) return text
  const room = columns - 1
  const characters = [...text]
  const begin = take(characters, Math.ceil(room / 2))
  const end = take(characters.slice(begin.length).reverse(), room - widthOf(begin.join('')), true)
  return `${begin.join('')}${ELLIPSIS}${end.reverse().join('')}`
}

/** The first characters that fit; from the end, a mark goes with the character that it belongs to. */
function take(characters, columns, isFromEnd = false) {
  const taken = []
  let width = 0
  for (const character of characters) {
    width += widthOfCharacter(character)
    if (width > columns) break
    taken.push(character)
  }
  while (isFromEnd && taken.length > 0 && widthOfCharacter(taken.at(-1)) === 0) taken.pop()
  return taken
}

/** The text with spaces behind it, in so many columns. */
function padded(text, columns) {
  return text + ' '.repeat(Math.max(0, columns - widthOf(text)))
}

module.exports = { cutInTheMiddle, escaped, padded, widthOf }
