/** The packed tarball in Vite, webpack and esbuild: fresh projects, with the repository's bundlers. */
import { describeBundlers } from './check.js';
import { CORE } from './recipes.js';

describeBundlers('bundlers', CORE, true);
