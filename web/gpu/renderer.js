/** What is known of renderers by their names. */

const SOFTWARE = /swiftshader|llvmpipe|lavapipe|softpipe|warp|basic render/i;

/** Whether a CPU pretends to be a GPU. @param {string} names that it goes by */
export const isSoftware = (names) => SOFTWARE.test(names);
