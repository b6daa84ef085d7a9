// An npm registry of the tests' own on 127.0.0.1, for packages to be published to and installed from. It has nothing else.

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { after } from 'node:test'

/**
 * Starts a registry, gone after the test file.
 *
 * @returns its `address`, the versions that were `published` so far, each as `name@version`, and `failAfter(count)`, which lets it
 *   take so many more and answer the next one with an error of its own
 */
export async function startRegistry() {
  const documents = new Map()
  const tarballs = new Map()
  const published = []
  let left = Infinity

  const take = ({ _attachments: attachments, ...document }) => {
    const { name } = document
    const known = documents.get(name) ?? { name, versions: {}, 'dist-tags': {}, time: {} }
    for (const [version, manifest] of Object.entries(document.versions)) {
      const tarball = `/${name}/-/${name}-${version}.tgz`
      const content = Buffer.from(Object.values(attachments)[0].data, 'base64')
      const integrity = `sha512-${createHash('sha512').update(content).digest('base64')}`
      const shasum = createHash('sha1').update(content).digest('hex')
      tarballs.set(tarball, content)
      known.versions[version] = { ...manifest, dist: { integrity, shasum, tarball: address + tarball } }
      known.time[version] = '2020-01-01T00:00:00.000Z'
      published.push(`${name}@${version}`)
    }
    // The first version of a package is its latest, whatever its tag.
    known['dist-tags'] = { latest: Object.keys(document.versions)[0], ...known['dist-tags'], ...document['dist-tags'] }
    documents.set(name, known)
  }

  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, address).pathname)
    const answer = (status, body) => {
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(JSON.stringify(body))
    }
    if (request.method === 'PUT') {
      let body = ''
      for await (const chunk of request.setEncoding('utf8')) body += chunk
      if (left-- <= 0) return answer(403, { error: 'not now' })
      take(JSON.parse(body))
      return answer(201, { ok: true })
    }
    if (tarballs.has(path)) return response.end(tarballs.get(path))
    const [, name, version] = path.split('/')
    const found = version ? documents.get(name)?.versions[version] : documents.get(name)
    return found ? answer(200, found) : answer(404, { error: 'not found' })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = `http://127.0.0.1:${server.address().port}`
  after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { address, published, failAfter: (count) => (left = count) }
}
