// The targets that a release has a binary for: by Rust's name, what npm calls it and where it runs.

import { execFileSync } from 'node:child_process'

const BINARY = 'advisory-lock-native'

/** @typedef {{ platform: string, os: string, cpu: string, libc?: string }} Target */

/** @type {Record<string, Target>} */
export const targets = {
  'x86_64-unknown-linux-gnu': { platform: 'linux-x64-gnu', os: 'linux', cpu: 'x64', libc: 'glibc' },
  'aarch64-unknown-linux-gnu': { platform: 'linux-arm64-gnu', os: 'linux', cpu: 'arm64', libc: 'glibc' },
  'x86_64-unknown-linux-musl': { platform: 'linux-x64-musl', os: 'linux', cpu: 'x64', libc: 'musl' },
  'aarch64-unknown-linux-musl': { platform: 'linux-arm64-musl', os: 'linux', cpu: 'arm64', libc: 'musl' },
  'x86_64-apple-darwin': { platform: 'darwin-x64', os: 'darwin', cpu: 'x64' },
  'aarch64-apple-darwin': { platform: 'darwin-arm64', os: 'darwin', cpu: 'arm64' },
  'x86_64-pc-windows-msvc': { platform: 'win32-x64-msvc', os: 'win32', cpu: 'x64' },
}

/** The file name of a platform's binary, in the clone and in the platform's package. */
export const binaryName = (platform) => `${BINARY}.${platform}.node`

/** The target that Rust builds for on this machine. */
export function hostTarget() {
  return /^host: (.*)$/m.exec(execFileSync('rustc', ['-vV'], { encoding: 'utf8' }))[1]
}
