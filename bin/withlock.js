#!/usr/bin/env node
'use strict'

require('../lib/command/main.js').main('withlock', process.argv.slice(2))
