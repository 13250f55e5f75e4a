/** `make bundlers`: all of them, each installed from npm into a project of its own. */
import { describeBundlers } from './check.js';
import { CORE, MORE } from './recipes.js';

describeBundlers('all bundlers, installed', [...CORE, ...MORE], false);
