/**
 * Whether a GPU can be read: some browsers give noise, lest pages tell GPUs apart, without an error.
 */
import { HanselError } from '../core/errors.js';

/** What is written, read back and compared: no two words alike. */
export const PROOF = Uint32Array.from({ length: 64 }, (_, i) => Math.imul(i + 1, 0x9e3779b1));

/** @param {Uint32Array} got @param {string} what @throws {HanselError} HANSEL_ERR_ADAPTER */
export function checkProof(got, what) {
  const at = PROOF.findIndex((word, i) => word !== got[i]);
  if (at < 0) return;
  throw new HanselError('HANSEL_ERR_ADAPTER', `${what} does not give back what was written`, {
    expected: `0x${PROOF[at].toString(16)}`, got: `0x${got[at]?.toString(16)}`,
  });
}

/**
 * Whether a framebuffer may have so many attachments RGBA32UI, which is what products draw: some GPUs
 * hold fewer bytes to a pixel.
 * @param {import('./webgl_context.js').GlContext} context @param {number} count
 */
export function isComplete(context, count) {
  const { gl } = context;
  const textures = Array.from({ length: count }, () => context.texture(1, 1, gl.RGBA32UI));
  context.attach(textures.map((texture) => [texture]));
  const is = gl.checkFramebufferStatus(gl.FRAMEBUFFER) === gl.FRAMEBUFFER_COMPLETE;
  context.rest();
  for (const texture of textures) context.free(texture);
  return is;
}

/**
 * Tries what all work needs.
 * @param {import('./webgl_context.js').GlContext} context
 * @throws {HanselError} HANSEL_ERR_ADAPTER, _LOST
 */
export async function proveGl(context) {
  if (context.attachments === 4 && !isComplete(context, 4)) {
    throw new HanselError('HANSEL_ERR_ADAPTER', 'WebGL2 draws too few bytes to a pixel', {
      expected: '4 attachments RGBA32UI', got: 'an incomplete framebuffer',
    });
  }
  const texels = PROOF.length / 4;
  const texture = context.array(texels, context.gl.RGBA32UI);
  try {
    context.write(texture, 4, 0, PROOF);
    checkProof(await context.readArray(texture, 0, texels), 'WebGL2');
  } finally {
    context.free(texture);
  }
}
