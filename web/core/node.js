/** Node's modules, not imported: bundlers for pages would look for what stands in an import. */

export const isNode = Boolean(globalThis.process?.versions?.node);

/** @type {typeof process.getBuiltinModule} only in Node */
export const builtin = (/** @type {string} */ name) => (
  /** @type {any} */ (globalThis.process.getBuiltinModule(name)));
