// The recipe of docs/monitoring.md for OpenTelemetry, with the real SDK and exporters that keep all in memory.

import assert from 'node:assert/strict'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { once } from 'node:events'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { context, metrics, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { AggregationTemporality, InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import advisoryLock from '../v2.js'
import { openDatabase, sqlLock, sqlUnlock, until } from './support/database.mjs'
import { examplesOf } from './support/examples.mjs'
import { emptyProject, root } from './support/package.mjs'

const database = await openDatabase()
const spans = new InMemorySpanExporter()
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] }))
const exported = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
const reader = new PeriodicExportingMetricReader({ exporter: exported, exportIntervalMillis: 2 ** 31 - 1 })
const provider = new MeterProvider({ readers: [reader] })
metrics.setGlobalMeterProvider(provider)
after(() => provider.shutdown())

const { text } = examplesOf('docs/monitoring.md').find((example) => example.text.includes('@opentelemetry/api'))
const folder = await emptyProject()
await mkdir(join(folder, 'node_modules'), { recursive: true })
await symlink(join(root, 'node_modules/@opentelemetry'), join(folder, 'node_modules/@opentelemetry'), 'junction')
await writeFile(join(folder, 'recipe.mjs'), text)
await import(pathToFileURL(join(folder, 'recipe.mjs')).href)

const createMutex = advisoryLock(database.connectionString)
after(() => createMutex.close())
const tracer = trace.getTracer('the application')
const told = (name) => spans.getFinishedSpans().filter((span) => span.name === name)

/** What the metric of this name says of the lock of a name: the values of its points, by their outcomes. */
async function measured(metric, lock) {
  await reader.forceFlush()
  const { scopeMetrics } = exported.getMetrics().at(-1)
  const all = scopeMetrics.flatMap((scope) => scope.metrics)
  const { dataPoints, descriptor } = all.find((one) => one.descriptor.name === metric)
  const own = dataPoints.filter(({ attributes }) => attributes['lock.name'] === lock)
  return { unit: descriptor.unit, points: own.map(({ value, attributes }) => [attributes['lock.outcome'], value]) }
}

test('the recipe is about twenty lines', () => assert.ok(text.split('\n').filter((line) => line.trim()).length <= 30))

test('a wait and a hold are spans beside those of the caller', async () => {
  spans.reset()
  await sqlLock(database.sql, 'spans')
  const parents = []
  const work = ['one', 'two'].map((name) =>
    tracer.startActiveSpan(name, async (span) => {
      parents.push(span.spanContext().spanId)
      await createMutex('spans').withLock(() => assert.equal(trace.getActiveSpan(), span))
      span.end()
    }),
  )
  await database.waiter('spans')
  await sqlUnlock(database.sql, 'spans')
  await Promise.all(work)
  await until(() => told('lock.hold').length === 2, 'the spans of the holds')
  for (const name of ['lock.acquire', 'lock.hold']) {
    assert.deepEqual(new Set(told(name).map((span) => span.parentSpanContext.spanId)), new Set(parents))
  }
  assert.deepEqual(told('lock.acquire')[0].attributes, { 'lock.name': 'spans', 'lock.mode': 'exclusive', 'lock.outcome': 'granted' })
  assert.deepEqual(told('lock.hold')[1].attributes, { 'lock.name': 'spans', 'lock.mode': 'exclusive', 'lock.outcome': 'released' })
})

test('what waits and what is held is counted, and how long it took', async () => {
  const unlock = await createMutex('counted').lock()
  const stop = new AbortController()
  const waits = [createMutex('counted').lock({ signal: stop.signal }), createMutex('counted').lock({ timeout: 50 })]
  const settled = Promise.allSettled(waits)
  assert.deepEqual((await measured('lock.waiting', 'counted')).points.map(([, value]) => value), [2])
  assert.deepEqual((await measured('lock.held', 'counted')).points.map(([, value]) => value), [1])
  await assert.rejects(waits[1], { code: 'ERR_LOCK_TIMEOUT' })
  stop.abort()
  await settled
  await unlock()
  await until(async () => (await measured('lock.held', 'counted')).points[0][1] === 0, 'nothing is held')
  assert.deepEqual((await measured('lock.waiting', 'counted')).points.map(([, value]) => value), [0])
  const waited = await measured('lock.wait.duration', 'counted')
  assert.equal(waited.unit, 's')
  assert.deepEqual(new Map(waited.points.map(([outcome, { count }]) => [outcome, count])), new Map([['granted', 1], ['timeout', 1], ['aborted', 1]]))
  const { sum } = waited.points.find(([outcome]) => outcome === 'timeout')[1]
  // In seconds. A timer of Node.js counts from the beginning of its turn of the event loop.
  assert.ok(sum >= 0.04 && sum < 30, String(sum))
  const [[outcome, { count }]] = (await measured('lock.hold.duration', 'counted')).points
  assert.deepEqual([outcome, count], ['released', 1])
})

test('a lost lock is a span with an error', async () => {
  spans.reset()
  const { signal } = await createMutex('lost').lock()
  const lost = once(signal, 'abort')
  await database.terminate('lost')
  await lost
  await until(() => told('lock.hold').length === 1, 'the span of the hold')
  const [{ status, attributes }] = told('lock.hold')
  assert.deepEqual([status.code, attributes['lock.outcome']], [SpanStatusCode.ERROR, 'lost'])
})
