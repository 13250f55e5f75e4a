/** Where a file's coded one is: beside it, unless told. */

/**
 * @param {string} name of a file, a path, or a URL without a query
 * @returns {string} that of the coded one, as `hansel encode` writes it
 */
export const codedName = (name) => (/\.safetensors$/.test(name) ? name.replace(/\.safetensors$/, '.hansel.safetensors')
  : `${name}.hansel`);
