/** What is known of renderers by their names. */

const SOFTWARE = /swiftshader|llvmpipe|lavapipe|softpipe|warp|basic render/i;

/** Whether a CPU pretends to be a GPU. @param {string} names that it goes by */
export const isSoftware = (names) => SOFTWARE.test(names);

/** The same, of a WebGPU adapter. @param {GPUAdapterInfo | null} info */
export const isFallback = (info) => {
  const { vendor, architecture, device, description } = info ?? {};
  return Boolean(info?.isFallbackAdapter)
    || isSoftware([vendor, architecture, device, description].join(' '));
};
