#!/usr/bin/env node
/** npx hansel. */
import './cli/cli.js';
