// `npm publish` runs this first: the binaries, which `napi artifacts` has put into `npm/*`, become optional dependencies of the
// same version, and none stays in the main package.

import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

import { root, runPackage } from './prepare.mjs'

runPackage('@napi-rs/cli/dist/cli.js', ['prepublish', '--tag-style', 'npm', '--skip-optional-publish', '--no-gh-release'])
for (const name of readdirSync(root)) if (name.endsWith('.node')) rmSync(join(root, name))
