/**
 * How a fresh project takes hansel, by bundler: what it installs, its files, the commands it runs,
 * as a newcomer would, and the folder that these make. No bundler is configured for hansel.
 */

const PAGE = (script) => `<!doctype html><title>page</title><link rel="icon" href="data:,">
<script type="module" src="${script}"></script>`;

/**
 * @typedef {object} Recipe
 * @property {string} name
 * @property {Record<string, string>} packages and their versions, besides hansel
 * @property {Record<string, string>} files path to text; src/app.js is tests/bundlers/app.js, and reads src/fixture.js
 * @property {string[][]} commands each a program of node_modules/.bin and its arguments
 * @property {string} out folder of what a page may load, and with no server of its own index.html; empty
 *   where nothing is built
 * @property {string[]} [serve] instead: a command that serves, with PORT for a free port
 * @property {boolean} [isDev] of a development server, which takes modules as they are
 */

/** @param {string} version */
const vite = (version) => {
  const shared = {
    packages: { vite: version },
    files: { 'index.html': PAGE('/src/app.js') },
  };
  const name = `vite ${version}`;
  return [
    { ...shared, name, commands: [['vite', 'build']], out: 'dist' },
    {
      ...shared, name: `${name}, development`, commands: [], out: '', isDev: true,
      serve: ['vite', '--port', 'PORT', '--strictPort', '--host', '127.0.0.1'],
    },
  ];
};

/** Installed with the development tools: `make test` runs them. @type {Recipe[]} */
export const CORE = [
  ...vite('8.3.4'),
  {
    name: 'webpack 5.113.0',
    packages: { webpack: '5.113.0', 'webpack-cli': '7.3.1' },
    files: { 'dist/index.html': PAGE('main.js') },
    commands: [['webpack', 'build', './src/app.js', '--mode', 'production']],
    out: 'dist',
  },
  {
    name: 'esbuild 0.28.2',
    packages: { esbuild: '0.28.2' },
    files: { 'www/index.html': PAGE('js/app.js') },
    commands: [['esbuild', 'src/app.js', '--bundle', '--minify', '--format=esm', '--outdir=www/js'],
      ['hansel', 'assets', 'www/dist']],
    out: 'www',
  },
];

/** `make bundlers` runs these, too. @type {Recipe[]} */
export const MORE = [
  ...vite('5.4.21'), ...vite('6.4.6'), ...vite('7.3.8'), ...vite('8.4.0'),
  {
    name: 'rollup 4.68.8',
    packages: {
      rollup: '4.68.8', '@rollup/plugin-node-resolve': '16.0.3',
      '@web/rollup-plugin-import-meta-assets': '2.3.3',
    },
    files: {
      'dist/index.html': PAGE('app.js'),
      'rollup.config.js': `import resolve from '@rollup/plugin-node-resolve';
import { importMetaAssets } from '@web/rollup-plugin-import-meta-assets';
export default { input: 'src/app.js', output: { dir: 'dist' }, plugins: [resolve(), importMetaAssets()] };
`,
    },
    commands: [['rollup', '-c']],
    out: 'dist',
  },
  {
    name: 'parcel 2.16.4',
    packages: { parcel: '2.16.4' },
    files: { 'index.html': PAGE('src/app.js') },
    commands: [['parcel', 'build', 'index.html', '--no-cache']],
    out: 'dist',
  },
  {
    name: 'next 16.4.6',
    packages: { next: '16.4.6', react: '19.3.1', 'react-dom': '19.3.1' },
    files: {
      'app/layout.js': 'export default ({ children }) => <html><body>{children}</body></html>;\n',
      'app/page.js': `'use client';
import { useEffect } from 'react';
import { open } from 'hansel'; // on the server, too, which renders this page before the browser does
import { gpu } from 'hansel/gpu';
export default function Page() {
  useEffect(() => { import('../src/app.js'); }, []);
  return <p>{typeof open} {typeof gpu}</p>;
}
`,
    },
    commands: [['next', 'build']],
    out: '.next/static',
    serve: ['next', 'start', '-p', 'PORT', '-H', '127.0.0.1'],
  },
];
