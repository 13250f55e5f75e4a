/** hansel/plain: matrices that are not coded, on every back end. */
export {
  GlPlainMatrix, PlainMatrix, WasmPlainMatrix, loadPlain, pickLayout,
} from './gpu/load_plain.js';
