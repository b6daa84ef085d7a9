#!/usr/bin/env node
'use strict'

require('../lib/command/main.js').main('pgmutex', process.argv.slice(2))
