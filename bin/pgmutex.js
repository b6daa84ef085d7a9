#!/usr/bin/env node
'use strict'

const { main } = require('../lib/command/main.js')
const { readPgmutex } = require('../lib/command/arguments.js')

main('pgmutex', readPgmutex)
