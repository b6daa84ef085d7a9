// The soak's judge: it finds what it is there to find.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ExclusionChecker } from '../soak/checker.mjs'
import { Deafness } from '../soak/deafness.mjs'

const NOTICE = 100
const exclusive = (owner, name = 'a') => ({ name, owner, exclusive: true })
const shared = (owner, name = 'a') => ({ name, owner, exclusive: false })

/** What is found in sections `[hold, from, to, { told, killed }]`. */
function check(...sections) {
  const checker = new ExclusionChecker(NOTICE)
  sections.forEach(([hold, from, to, { told, killed } = {}], id) => {
    checker.begin(id, hold, from)
    if (to !== undefined) checker.leave(id, to)
    if (told !== undefined) checker.told(id, told)
    else if (killed !== undefined) checker.killed(id, killed)
    else checker.released(id, to)
  })
  checker.judge()
  return checker
}

test('sections one after the other, of different names, of one owner, or all shared are well', () => {
  const cases = [
    [[exclusive('x'), 0, 10], [exclusive('y'), 10, 20]],
    [[exclusive('x'), 0, 10], [exclusive('y', 'b'), 5, 20]],
    [[exclusive('x'), 0, 10], [exclusive('x'), 5, 20]],
    [[shared('x'), 0, 10], [shared('y'), 5, 20]],
  ]
  for (const sections of cases) assert.deepEqual(check(...sections).violations, [])
})

test('two holders at a time are found, in whatever order and however short', () => {
  const cases = [
    [[exclusive('x'), 0, 10], [exclusive('y'), 9.9, 20]],
    [[exclusive('y'), 9.9, 20], [exclusive('x'), 0, 10]],
    [[exclusive('x'), 0, 10], [exclusive('y'), 2, 3]],
    [[shared('x'), 0, 10], [exclusive('y'), 5, 20]],
    [[exclusive('x'), 0, 10], [shared('y'), 5, 20]],
    [[exclusive('x'), 0, 10], [exclusive('z', 'b'), 0, 10], [shared('y'), 5, 20]],
  ]
  for (const sections of cases) assert.equal(check(...sections).violations.length, 1)
})

test('a lost hold ends when its holder is told, who must be told in time', () => {
  assert.equal(check([exclusive('x'), 0, undefined, { told: 5 }], [exclusive('y'), 5, 9]).overlaps, 0)
  const intime = check([exclusive('x'), 0, undefined, { told: 50 }], [exclusive('y'), 5, 9])
  assert.deepEqual([intime.violations.length, intime.overlaps, intime.longestOverlap], [0, 1, 45])
  assert.equal(check([exclusive('x'), 0, undefined, { told: 106 }], [exclusive('y'), 5, 9]).violations.length, 1)
  assert.equal(check([exclusive('x'), 0, 8, { told: 50 }], [exclusive('y'), 5, 9]).overlaps, 1, 'told by the release')
  assert.equal(check([exclusive('x'), 0, 8, { told: 500 }], [exclusive('y'), 5, 9]).violations.length, 1)
  assert.equal(check([exclusive('x'), 0, 8, { told: 500 }], [exclusive('y'), 8, 9]).violations.length, 0, 'it had left before')
})

test('the later of two may be the lost one', () => {
  assert.equal(check([exclusive('x'), 0, 90], [exclusive('y'), 5, 9, { told: 60 }]).overlaps, 1, 'given on by a lost session')
  assert.equal(check([exclusive('x'), 0, 900], [exclusive('y'), 5, 9, { told: 600 }]).violations.length, 1)
})

test('a deaf process hears when it can again', () => {
  const found = (deafTo) => {
    const checker = new ExclusionChecker(NOTICE)
    checker.begin('deaf', { ...exclusive('x'), process: 1 }, 0)
    checker.begin('other', { ...exclusive('y'), process: 2 }, 10)
    checker.leave('other', 20)
    checker.released('other', 20)
    checker.deaf(1, 5, deafTo)
    checker.told('deaf', 2000)
    checker.judge()
    return checker.violations.length
  }
  assert.equal(found(1950), 0)
  assert.equal(found(1800), 1)
})

test('a deaf holder that lets go or is killed before it can hear was never told, and need not be', () => {
  const found = (end, at) => {
    const checker = new ExclusionChecker(NOTICE)
    checker.begin('deaf', { ...exclusive('x'), process: 1 }, 0)
    checker.begin('other', { ...exclusive('y'), process: 2 }, 10)
    checker.released('other', 20)
    checker.deaf(1, 5, 1000)
    checker[end]('deaf', at)
    checker.judge()
    return checker.violations.length
  }
  assert.deepEqual([found('released', 1000), found('released', 1001)], [0, 1])
  assert.deepEqual([found('killed', 1000), found('killed', 1099), found('killed', 1101)], [0, 0, 1])
})

test('only who has missed something is deaf, from then to the end of the last reason', () => {
  const told = []
  const deafness = new Deafness({ deaf: (...words) => told.push(words) })
  const [first, second] = [{ number: 1 }, { number: 2 }]
  const ends = [first, first, second].map((member) => deafness.begin(member))
  assert.ok(deafness.has(first) && deafness.horizon < Infinity)
  deafness.sessionsEnd(first)
  assert.deepEqual([ends[2](), told], [false, []], 'it was of another')
  assert.deepEqual([ends[0](), told], [true, []], 'there is one more reason')
  assert.equal(ends[1](), true)
  const [[number, from, to]] = told
  assert.ok(number === 1 && from < to && told.length === 1)
  assert.ok(!deafness.has(first) && deafness.horizon === Infinity)
  // The news may be on its way when the next silence begins.
  assert.equal(deafness.begin(first)(), true)
  assert.equal(deafness.begin(second)(), false)
  deafness.sessionsEnd(second)
  assert.equal(deafness.begin(second)(), true)
})

test('what was missed is still on the way when the next deafness begins', (t) => {
  let time = 0n
  t.mock.method(process.hrtime, 'bigint', () => time)
  const deafness = new Deafness({ deaf() {} })
  const member = { number: 1 }
  const end = deafness.begin(member)
  deafness.sessionsEnd(member)
  time += 10_000_000_000n
  assert.equal(end(), true)
  time += 100_000_000n
  assert.equal(deafness.begin(member)(), true)
})

test('who lets go while the news of its session is on the way was never told, and need not be', () => {
  const found = (endingTo, at, process = 1) => {
    const checker = new ExclusionChecker(NOTICE)
    checker.begin('ended', { ...exclusive('x'), process: 1 }, 0)
    checker.ending(process, 5, endingTo)
    checker.begin('other', { ...exclusive('y'), process: 2 }, 10)
    checker.released('ended', at)
    checker.released('other', 2000)
    checker.judge()
    return checker.violations.length
  }
  assert.deepEqual([found(10, 110), found(10, 111), found(9, 11)], [0, 1, 1])
  assert.equal(found(10, 20, 3), 1, 'sessions of neither were ended')
})

test('who was deaf once is judged as anybody else afterwards', () => {
  const checker = new ExclusionChecker(NOTICE)
  for (const process of [1, 2]) checker.deaf(process, 0, 10)
  checker.begin('ended', { ...exclusive('x'), process: 1 }, 1000)
  checker.ending(1, 1005, 1100)
  checker.begin('other', { ...exclusive('y'), process: 2 }, 1010)
  checker.released('ended', 1020)
  checker.released('other', 3000)
  checker.judge()
  assert.deepEqual(checker.violations, [])
})

test('one deafness that begins in another goes on', () => {
  const found = (told) => {
    const checker = new ExclusionChecker(NOTICE)
    checker.deaf(1, 5, 1000)
    checker.deaf(1, 900, 3000)
    checker.begin('deaf', { ...exclusive('x'), process: 1 }, 0)
    checker.begin('other', { ...exclusive('y'), process: 2 }, 10)
    checker.released('other', 20)
    checker.told('deaf', told)
    checker.judge()
    return checker.violations.length
  }
  assert.deepEqual([found(3050), found(3150)], [0, 1])
})

test('two are judged when it is known how both have ended', () => {
  const checker = new ExclusionChecker(NOTICE)
  checker.begin('earlier', exclusive('x'), 0)
  checker.begin('later', exclusive('y'), 5)
  checker.leave('earlier', 500)
  checker.released('earlier', 500)
  checker.judge(600)
  checker.told('later', 50)
  checker.judge(600)
  assert.deepEqual([checker.violations.length, checker.overlaps], [0, 1])
})

test('a killed holder ends with its process', () => {
  assert.equal(check([exclusive('x'), 0, undefined, { killed: 5 }], [exclusive('y'), 5, 9]).violations.length, 0)
  assert.equal(check([exclusive('x'), 0, undefined, { killed: 5 }], [exclusive('y'), 4, 9]).violations.length, 1)
})

test('judging bit by bit finds the same, and nothing is kept for ever', () => {
  const checker = new ExclusionChecker(NOTICE)
  checker.begin('long', exclusive('x'), 0)
  for (let id = 0; id < 1000; id++) {
    checker.begin(id, exclusive('y', 'b'), id)
    checker.released(id, id + 1)
    checker.judge(id)
  }
  checker.begin('short', shared('z'), 500)
  checker.released('short', 501)
  checker.judge(999)
  assert.equal(checker.violations.length, 0)
  assert.deepEqual(checker.open(), ['long'])
  checker.leave('long', 1000)
  checker.released('long', 1000)
  checker.judge(999)
  assert.equal(checker.violations.length, 0, 'not before all is known')
  checker.judge(1000)
  assert.equal(checker.violations.length, 1)
  assert.equal(checker.violations[0].later.id, 'short')
})
