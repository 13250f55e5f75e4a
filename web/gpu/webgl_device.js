/** WebGL2 as a device for matrices, in a page or a worker. web/gpu/webgl_context.js is the context. */
import { refuse } from '../core/options.js';
import { loadMatrix } from './load.js';
import { ROW_ALIGN } from './plain_rows.js';
import { WebGlCoded } from './webgl_coded.js';
import { GlContext } from './webgl_context.js';
import { WebGlPlain } from './webgl_plain.js';
import { WebGlStreams } from './webgl_streams.js';

/** @typedef {import('./webgl_context.js').GlOptions} GlOptions */

/**
 * Opens WebGL2, in a page or a worker.
 *
 * With `gl` of your own: calls leave default bindings (no program, framebuffer, vertex array,
 * PIXEL_*_BUFFER, uniform buffer 0, nor textures and samplers on units 0 to 6, unit 0 active), and
 * change viewport, pixelStorei, colorMask (all true) and capabilities (all that affect drawing
 * disabled). Errors you left in getError() are dropped. Call preventDefault() in your
 * webglcontextlost listener, or the context never comes back.
 * @param {GlOptions} [options]
 * @returns {Promise<WebGl>}
 * @throws {import('../core/errors.js').HanselError} HANSEL_ERR_ADAPTER when there is none
 * @example
 * const gpu = await webgl();
 * const w = await gpu.load(model, 'w');
 * const symbols = await w.symbols();
 */
export async function webgl(options = {}) {
  const { gl, canvas, limits, ...rest } = options;
  await refuse(rest, 'webgl');
  const self = new WebGl(options);
  await self.ready();
  return self;
}

/** One WebGL2 context. Make one with webgl(). */
export class WebGl extends GlContext {
  kind = /** @type {const} */ ('webgl');
  /** Bytes that rows of plain matrices are padded to. */
  rowAlign = ROW_ALIGN;
  /** From more levels on bytes are multiplied faster than one weight a code. */
  mostPrefixLevels = 57;

  /**
   * Loads a tensor: its bytes go to the GPU as they arrive, as they lie in the file.
   * @param {import('../model/model.js').Model} model retained by the matrix, for verify()
   * @param {string} name @param {import('./load.js').LoadOptions} [options] progress in bytes
   * @returns {Promise<import('./matrix.js').Matrix>}
   * @throws {import('../core/errors.js').HanselError} HANSEL_ERR_LIMIT, _MEMORY, _LOST, _GPU, and as
   *   Model.decode()
   */
  load(model, name, options) {
    return loadMatrix(this, model, name, options);
  }

  /** Writes of a load: errors are asked for at its end, since asking waits. @param {() => void} body */
  upload(body) {
    body();
  }

  /** @param {string} name @param {import('../core/codec.js').Blob} blob
   * @param {import('../core/codec.js').Codec} codec */
  makeCoded(name, blob, codec) {
    return new WebGlCoded(this, name, blob, codec);
  }

  /** @param {string} name @param {import('../core/codec.js').Blob} blob
   * @param {import('../core/recoder.js').Code} code */
  makeStreams(name, blob, code) {
    return new WebGlStreams(this, name, blob, code);
  }

  /** @param {string} name @param {import('./plain_rows.js').PlainRows} plain */
  makePlain(name, plain) {
    return new WebGlPlain(this, name, plain);
  }
}
