#!/usr/bin/env node
'use strict'

const { main } = require('../lib/command/main.js')
const { readWithlock } = require('../lib/command/arguments.js')

main('withlock', readWithlock)
