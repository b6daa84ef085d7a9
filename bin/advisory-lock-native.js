#!/usr/bin/env node
'use strict'

require('../lib/command/main.js').choose(process.argv.slice(2))
