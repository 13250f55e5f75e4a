/** What `make lint` asks of JavaScript beside its types; `make format` corrects most of it. */
import stylistic from '@stylistic/eslint-plugin';

/** Names of pages and workers that Node lacks, as far as tests use them. */
const BROWSER = ['DataTransfer', 'DragEvent', 'GPUAdapter', 'GPUBuffer', 'GPUBufferUsage',
  'GPUMapMode', 'HTMLCanvasElement', 'OffscreenCanvas', 'WebGL2RenderingContext', 'Worker', 'crossOriginIsolated', 'document',
  'getComputedStyle', 'location', 'navigator', 'postMessage', 'requestAnimationFrame', 'scrollY',
  'window', 't']; // what webgl.test.js has put there
const MOCHA = ['describe', 'it', 'before', 'after', 'beforeEach', 'afterEach'];

/** @param {string[]} names */
const readonly = (names) => Object.fromEntries(names.map((name) => [name, 'readonly']));

export default [
  {
    files: ['**/*.{js,cjs}'],
    plugins: { '@stylistic': stylistic },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    languageOptions: { globals: readonly([...Object.getOwnPropertyNames(globalThis), ...BROWSER]) },
    rules: {
      'eqeqeq': 'error',
      'no-constant-condition': 'error',
      'no-debugger': 'error',
      'no-dupe-keys': 'error',
      'no-duplicate-case': 'error',
      'no-empty': 'error',
      'no-fallthrough': 'error',
      'no-redeclare': 'error',
      'no-self-assign': 'error',
      'no-self-compare': 'error',
      'no-throw-literal': 'error',
      'no-undef': 'error',
      'no-unreachable': 'error',
      'no-unsafe-negation': 'error',
      'no-unused-vars': ['error', { caughtErrors: 'all', ignoreRestSiblings: true }],
      'no-useless-escape': 'error',
      'no-useless-return': 'error',
      'no-var': 'error',
      'object-shorthand': 'error',
      'prefer-arrow-callback': 'error',
      'prefer-const': ['error', { destructuring: 'all' }],
      'valid-typeof': 'error',
      '@stylistic/arrow-parens': 'error',
      '@stylistic/arrow-spacing': 'error',
      '@stylistic/brace-style': ['error', '1tbs', { allowSingleLine: true }],
      '@stylistic/comma-dangle': ['error', 'always-multiline'],
      '@stylistic/comma-spacing': 'error',
      '@stylistic/eol-last': 'error',
      '@stylistic/indent': ['error', 2, { SwitchCase: 1, ignoredNodes: ['TemplateLiteral *'] }],
      '@stylistic/key-spacing': 'error',
      '@stylistic/keyword-spacing': 'error',
      '@stylistic/max-len': ['error', {
        code: 120, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreRegExpLiterals: true,
      }],
      '@stylistic/no-extra-semi': 'error',
      '@stylistic/no-multiple-empty-lines': ['error', { max: 1, maxBOF: 0, maxEOF: 0 }],
      '@stylistic/no-tabs': 'error',
      '@stylistic/no-trailing-spaces': 'error',
      '@stylistic/quotes': ['error', 'single', {
        avoidEscape: true, allowTemplateLiterals: 'always',
      }],
      '@stylistic/semi': 'error',
      '@stylistic/space-before-blocks': 'error',
      '@stylistic/space-infix-ops': 'error',
    },
  },
  { files: ['web/**'], rules: { 'no-undef': 'off' } }, // tsc knows
  {
    files: ['tests/**/*.test.js', 'tests/gpu/{chromium,suite}.js', 'tests/bundlers/*.js'],
    languageOptions: { globals: readonly(MOCHA) },
  },
  { files: ['**/*.cjs'], languageOptions: { sourceType: 'commonjs' } },
];
