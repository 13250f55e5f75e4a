/** Where the files of this package are: dist/, shaders/ and web/demo/ beside this folder. */

/** @param {string} path from the package's root @returns {URL} */
export const assetUrl = (path) => new URL(`../${path}`, import.meta.url);
