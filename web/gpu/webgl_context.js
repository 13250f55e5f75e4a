/**
 * A WebGL2 context as web/webgl.js uses it: textures as arrays of numbers,
 * fragment shaders as loops over them, errors and loss as HanselErrors.
 */
import { HanselError } from '../core/errors.js';
import { isComplete, proveGl } from './proof.js';
import { isSoftware } from './renderer.js';
import { namesOf } from './shaders.js';
import { createContext } from './webgl_create.js';
import { compileProgram } from './webgl_programs.js';

/** Width of the textures that serve as arrays: what every WebGL2 has. WIDTH_LOG2 in the shaders. */
const WIDTH_LOG2 = 11;
/** 4096 slots must fit a texture. */
const LEAST_SIZE = 64;
const DRAW_STEPS = 1 << 16;
/** A decoding table as a uniform block: a vec4 to an entry, as std140 has it. */
const TABLE_BYTES = 16 * 4096;

/**
 * @typedef {object} GlOptions
 * @property {WebGL2RenderingContext} [gl] yours; otherwise one is made, and again after a loss
 * @property {HTMLCanvasElement | OffscreenCanvas} [canvas] yours, to make the context on
 * @property {{textureSize?: number, attachments?: number, layers?: number, steps?: number}} [limits]
 *   smaller ones than the context's: pixels of a side, at least 64; draw buffers, at least 4; layers
 *   of an array texture, at least 8; steps (four symbols) that are decoded at a time
 */
/** @typedef {import('./webgl_programs.js').Program} Program */
/** @typedef {Record<string, WebGLTexture | null>} Inputs by sampler name */
/** @typedef {Record<string, number>} Uniforms unsigned integers, by name */
/** @typedef {[texture: WebGLTexture, layer?: number]} Target a colour attachment */

/** One WebGL2 context, and another one after it is lost. */
export class GlContext {
  /** @type {WebGL2RenderingContext} */
  // @ts-expect-error set by ready()
  gl;
  /** Textures and buffers that live. @type {Set<WebGLTexture | WebGLBuffer>} */
  objects = new Set();
  /** Counts contexts: what was made in an earlier one is gone. */
  epoch = 0;
  /** Pixels of a texture's side, at most. */
  textureSize = 0;
  /** Layers of an array texture, at most. */
  layers = 0;
  /** 4 or 8. */
  attachments = 4;
  /** Steps that are decoded at a time: by default 64 MiB of symbols, to be put in order. */
  bandSteps = 1 << 24;
  /** Whether a CPU pretends to be the GPU. */
  isSoftware = false;
  /** Whether decoding tables are uniform blocks: define TABLE_BLOCK. */
  hasTableBlock = false;
  /** Log2 of the width of the textures that serve as arrays. */
  widthLog2 = WIDTH_LOG2;
  /** Steps of a stream that one draw of a product decodes, at most: watchdogs stop long draws. */
  drawSteps = DRAW_STEPS;
  #isLost = true;
  /** That the context can be trusted. @type {Promise<void> | null} */
  #proof = null;
  /** Attachments of the framebuffer that hold something. */
  #attached = 0;
  /** @type {Map<string, Promise<Program>>} */
  #programs = new Map();
  /** @type {WebGLFramebuffer | null} */
  #framebuffer = null;
  /** @type {WebGLVertexArrayObject | null} */
  #vertexArray = null;
  /** @type {GlOptions} */
  #options;

  /** @param {GlOptions} options */
  constructor(options) {
    this.#options = options;
    const { textureSize = LEAST_SIZE, attachments = 4, layers = 8, steps = 1 } = options.limits ?? {};
    if (!(textureSize >= LEAST_SIZE && attachments >= 4 && layers >= 8 && steps >= 1)) {
      throw new HanselError('HANSEL_ERR_ARGUMENT', 'impossible limits', {
        expected: `textureSize from ${LEAST_SIZE}, attachments from 4, layers from 8, steps from 1`,
        got: JSON.stringify(options.limits),
      });
    }
  }

  /**
   * Sees to it that there is a context.
   * @throws {HanselError} HANSEL_ERR_ADAPTER without WebGL2, or with one that cannot be read or
   *   drawn to as it must; HANSEL_ERR_LOST while the context or the canvas is yours and not restored
   */
  async ready() {
    if (this.isLost) this.#open();
    await this.#proof;
  }

  #open() {
    const gl = this.#options.gl ?? createContext(this.#options.canvas);
    if (gl.isContextLost()) throw this.lossError('not restored yet');
    this.gl = gl;
    this.epoch++;
    this.#isLost = false;
    this.#attached = 0;
    this.objects.clear();
    this.#programs.clear();
    const { epoch } = this;
    gl.canvas.addEventListener('webglcontextlost', (event) => {
      if (this.#options.canvas) event.preventDefault(); // or it would never be restored
      if (this.epoch === epoch) this.#isLost = true;
    }, { once: true });
    const {
      textureSize = Infinity, attachments = 8, layers = Infinity, steps = Infinity,
    } = this.#options.limits ?? {};
    this.bandSteps = Math.min(this.bandSteps, steps);
    this.drawSteps = Math.floor(Math.min(this.drawSteps, steps));
    this.textureSize = Math.min(gl.getParameter(gl.MAX_TEXTURE_SIZE), textureSize);
    this.layers = Math.min(gl.getParameter(gl.MAX_ARRAY_TEXTURE_LAYERS), layers);
    this.widthLog2 = Math.min(WIDTH_LOG2, Math.floor(Math.log2(this.textureSize)));
    const info = gl.getExtension('WEBGL_debug_renderer_info');
    this.isSoftware = isSoftware(
      String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER)));
    this.hasTableBlock = this.isSoftware
      && gl.getParameter(gl.MAX_UNIFORM_BLOCK_SIZE) >= TABLE_BYTES;
    this.#framebuffer = gl.createFramebuffer();
    this.#vertexArray = gl.createVertexArray();
    const most = Math.min(attachments, gl.getParameter(gl.MAX_DRAW_BUFFERS),
      gl.getParameter(gl.MAX_COLOR_ATTACHMENTS));
    this.attachments = most >= 8 && isComplete(this, 8) ? 8 : 4;
    this.#proof = proveGl(this).catch((error) => {
      this.destroy();
      throw error;
    });
    this.#proof.catch(() => {}); // told by ready()
  }

  get isLost() {
    return this.#isLost || this.gl.isContextLost();
  }

  /** @param {string} why */
  lossError(why) {
    return new HanselError('HANSEL_ERR_LOST', 'the WebGL2 context was lost; load again', {
      got: why,
    });
  }

  /** @param {number} epoch @throws {HanselError} HANSEL_ERR_LOST if that context is gone */
  checkLost(epoch) {
    if (this.epoch !== epoch || this.isLost) throw this.lossError('webglcontextlost');
  }

  /**
   * Runs a function; what WebGL2 reports meanwhile becomes a HanselError.
   * @template T @param {() => Promise<T> | T} body @returns {Promise<T>}
   */
  async guard(body) {
    const { gl, epoch } = this;
    /** @type {unknown} */
    let failure;
    let result;
    if (this.#options.gl) while (gl.getError() !== gl.NO_ERROR && !gl.isContextLost()); // not ours
    try {
      result = await body();
    } catch (error) {
      failure = error;
    }
    // Without a context all calls fail: that is why, whatever was seen first.
    const isOwn = failure instanceof HanselError && failure.code !== 'HANSEL_ERR_GPU';
    if (!isOwn) this.checkLost(epoch);
    const error = gl.getError();
    if (error === gl.OUT_OF_MEMORY) {
      throw new HanselError('HANSEL_ERR_MEMORY', 'not enough GPU memory', {
        got: 'OUT_OF_MEMORY', cause: failure,
      });
    }
    if (failure instanceof HanselError) throw failure;
    this.checkLost(epoch);
    if (failure || error !== gl.NO_ERROR) {
      throw new HanselError('HANSEL_ERR_GPU', 'the GPU reported an error', {
        got: failure ? /** @type {Error} */ (failure).message : `0x${error.toString(16)}`,
        cause: failure,
      });
    }
    return /** @type {T} */ (result);
  }

  /** Waits for all commands so far, without blocking the thread. */
  async finished() {
    const { gl, epoch } = this;
    const sync = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
    for (;;) {
      this.checkLost(epoch);
      if (!sync || gl.getSyncParameter(sync, gl.SYNC_STATUS) === gl.SIGNALED) break;
      await new Promise((resolve) => { setTimeout(resolve, 1); });
    }
    gl.deleteSync(sync);
  }

  /* ---- textures ---- */

  /**
   * @param {number} width @param {number} height @param {number} format R32UI, RG32UI or RGBA32UI
   * @param {number} [layers] makes an array texture
   * @returns {WebGLTexture}
   */
  texture(width, height, format, layers) {
    const { gl } = this;
    const kind = layers === undefined ? gl.TEXTURE_2D : gl.TEXTURE_2D_ARRAY;
    const texture = gl.createTexture();
    this.objects.add(texture);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(kind, texture);
    for (const side of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) {
      gl.texParameteri(kind, side, gl.NEAREST);
    }
    if (layers === undefined) gl.texStorage2D(kind, 1, format, width, height);
    else gl.texStorage3D(kind, 1, format, width, height, layers);
    gl.bindTexture(kind, null);
    return texture;
  }

  /**
   * A decoding table, where shaders read it best.
   * @param {Uint32Array} table at most 4096 entries
   * @returns {WebGLTexture | WebGLBuffer} for bind(), as slots
   */
  table(table) {
    if (!this.hasTableBlock) return this.filled(table);
    const { gl } = this;
    const spread = new Uint32Array(TABLE_BYTES / 4);
    table.forEach((entry, slot) => { spread[4 * slot] = entry; });
    const buffer = gl.createBuffer();
    this.objects.add(buffer);
    gl.bindBuffer(gl.UNIFORM_BUFFER, buffer);
    gl.bufferData(gl.UNIFORM_BUFFER, spread, gl.STATIC_DRAW);
    gl.bindBuffer(gl.UNIFORM_BUFFER, null);
    return buffer;
  }

  /** Bytes that such a texture holds, 16 to a texel. */
  get bindingBytes() {
    return 16 * this.arrayTexels;
  }

  /** Texels that a texture may have as an array. */
  get arrayTexels() {
    return this.textureSize << this.widthLog2;
  }

  /** @param {number} texels @param {number} format @returns {WebGLTexture} an array of so many */
  array(texels, format) {
    const width = 1 << this.widthLog2;
    return this.texture(width, Math.max(1, Math.ceil(texels / width)), format);
  }

  /** @param {Uint32Array} data @returns {WebGLTexture} an R32UI array of them */
  filled(data) {
    const texture = this.array(data.length, this.gl.R32UI);
    this.write(texture, 1, 0, data);
    return texture;
  }

  /**
   * Writes texels of an array.
   * @param {WebGLTexture} texture @param {1 | 2 | 4} size u32s of a texel
   * @param {number} at first texel @param {Uint32Array} data not retained
   * @param {number} [width] of the texture, if it is not an array
   */
  write(texture, size, at, data, width = 1 << this.widthLog2) {
    const { gl } = this;
    const format = { 1: gl.RED_INTEGER, 2: gl.RG_INTEGER, 4: gl.RGBA_INTEGER }[size];
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.bindBuffer(gl.PIXEL_UNPACK_BUFFER, null);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 4);
    for (const name of /** @type {const} */ (['ROW_LENGTH', 'SKIP_ROWS', 'SKIP_PIXELS'])) {
      gl.pixelStorei(gl[`UNPACK_${name}`], 0);
    }
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, false);
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
    // The rest of a row, whole rows, the beginning of one.
    for (let done = 0, left = data.length / size; left > 0;) {
      const x = at % width;
      const rows = x === 0 && left >= width ? Math.floor(left / width) : 1;
      const columns = Math.min(width - x, left);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, x, (at - x) / width, columns, rows, format,
        gl.UNSIGNED_INT, data, done * size);
      done += rows * columns;
      at += rows * columns;
      left -= rows * columns;
    }
    gl.bindTexture(gl.TEXTURE_2D, null);
  }

  /**
   * As write(), from bytes. @param {WebGLTexture} texture @param {1 | 2 | 4} size u32s of a texel
   * @param {number} at first texel @param {Uint8Array} bytes of whole texels
   */
  writeBytes(texture, size, at, bytes) {
    const { buffer, byteOffset, length } = bytes.byteOffset % 4 ? bytes.slice() : bytes;
    this.write(texture, size, at, new Uint32Array(buffer, byteOffset, length / 4));
  }

  /**
   * Reads a rectangle of a texture.
   * @param {WebGLTexture} texture @param {number} y @param {number} width @param {number} height
   * @returns {Promise<Uint32Array>} four u32s to a texel, whatever the format
   */
  async read(texture, y, width, height) {
    const { gl } = this;
    const bytes = 16 * width * height;
    const buffer = gl.createBuffer();
    this.objects.add(buffer);
    try {
      this.attach([[texture]]);
      gl.readBuffer(gl.COLOR_ATTACHMENT0);
      gl.bindBuffer(gl.PIXEL_PACK_BUFFER, buffer);
      gl.bufferData(gl.PIXEL_PACK_BUFFER, bytes, gl.STREAM_READ);
      gl.pixelStorei(gl.PACK_ALIGNMENT, 4);
      for (const name of /** @type {const} */ (['ROW_LENGTH', 'SKIP_ROWS', 'SKIP_PIXELS'])) {
        gl.pixelStorei(gl[`PACK_${name}`], 0);
      }
      gl.readPixels(0, y, width, height, gl.RGBA_INTEGER, gl.UNSIGNED_INT, 0);
      gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
      this.rest();
      await this.finished();
      const words = new Uint32Array(bytes / 4);
      gl.bindBuffer(gl.PIXEL_PACK_BUFFER, buffer);
      gl.getBufferSubData(gl.PIXEL_PACK_BUFFER, 0, words);
      gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
      return words;
    } finally {
      if (this.objects.delete(buffer)) gl.deleteBuffer(buffer);
    }
  }

  /**
   * Reads texels of an array.
   * @param {WebGLTexture} texture @param {number} at @param {number} count
   * @returns {Promise<Uint32Array>} four u32s to a texel
   */
  async readArray(texture, at, count) {
    const width = 1 << this.widthLog2;
    const first = Math.floor(at / width);
    const words = await this.read(texture, first, width, Math.ceil((at + count) / width) - first);
    return words.subarray(4 * (at - first * width), 4 * (at - first * width + count));
  }

  /** @param {WebGLTexture | WebGLBuffer | null | undefined} texture */
  free(texture) {
    // Those of a lost context are no longer in the set.
    if (!texture || !this.objects.delete(texture)) return;
    if (texture instanceof WebGLTexture) this.gl.deleteTexture(texture);
    else this.gl.deleteBuffer(texture);
  }

  /* ---- programs ---- */

  /**
   * @param {keyof typeof import('./shaders.js').GLSL | import('./shaders.js').Program} which
   * @param {Record<string, number>} [defines]
   * @returns {Promise<Program>} cached
   * @throws {HanselError} HANSEL_ERR_SHADER with the compiler's log
   */
  program(which, defines = {}) {
    const all = {
      WIDTH_LOG2: this.widthLog2, TABLE_BLOCK: this.hasTableBlock ? 1 : 0, ...defines,
    };
    const name = typeof which === 'object' ? namesOf(which.files) : which;
    const key = `${name} ${JSON.stringify(all)}`;
    let found = this.#programs.get(key);
    if (!found) {
      const { epoch } = this;
      found = compileProgram(this.gl, which, all, () => this.checkLost(epoch));
      this.#programs.set(key, found);
      found.catch(() => this.#programs.delete(key));
    }
    return found;
  }

  /* ---- drawing ---- */

  /** @param {Target[]} targets become the colour attachments, and the only ones */
  attach(targets) {
    const { gl } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.#framebuffer);
    for (let i = 0; i < Math.max(this.#attached, targets.length); i++) {
      const [texture, layer] = targets[i] ?? [null];
      const point = gl.COLOR_ATTACHMENT0 + i;
      if (layer === undefined) {
        gl.framebufferTexture2D(gl.FRAMEBUFFER, point, gl.TEXTURE_2D, texture, 0);
      } else {
        gl.framebufferTextureLayer(gl.FRAMEBUFFER, point, texture, 0, layer);
      }
    }
    this.#attached = targets.length;
    gl.drawBuffers(targets.map((_, i) => gl.COLOR_ATTACHMENT0 + i));
  }

  /** @param {Program} program @param {Uniforms} uniforms values below 2^32 */
  set({ program, places }, uniforms) {
    const { gl } = this;
    for (const [name, value] of Object.entries(uniforms)) {
      if (!places.has(name)) places.set(name, gl.getUniformLocation(program, name));
      gl.uniform1ui(/** @type {WebGLUniformLocation} */ (places.get(name)), value);
    }
  }

  /** @param {Program} program @param {Inputs} inputs textures, 2-D unless the name is 'src' */
  bind({ program, places }, inputs) {
    const { gl } = this;
    Object.entries(inputs).forEach(([name, texture], unit) => {
      if (name === 'slots' && this.hasTableBlock) {
        gl.bindBufferBase(gl.UNIFORM_BUFFER, 0, texture);
        return;
      }
      if (!places.has(name)) places.set(name, gl.getUniformLocation(program, name));
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(name === 'src' ? gl.TEXTURE_2D_ARRAY : gl.TEXTURE_2D, texture);
      gl.bindSampler(unit, null);
      gl.uniform1i(/** @type {WebGLUniformLocation} */ (places.get(name)), unit);
    });
  }

  /** Readies the context for draw(), whatever its owner left set. @param {Program} program */
  begin({ program }) {
    const { gl } = this;
    for (const what of [gl.BLEND, gl.CULL_FACE, gl.DEPTH_TEST, gl.RASTERIZER_DISCARD,
      gl.SAMPLE_ALPHA_TO_COVERAGE, gl.SAMPLE_COVERAGE, gl.SCISSOR_TEST, gl.STENCIL_TEST]) {
      gl.disable(what);
    }
    gl.colorMask(true, true, true, true);
    gl.bindVertexArray(this.#vertexArray);
    gl.useProgram(program);
  }

  /** @param {number} y @param {number} width @param {number} height of the targets' rectangle
   * @param {number} [x] */
  draw(y, width, height, x = 0) {
    const { gl } = this;
    gl.viewport(x, y, width, height);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  /**
   * Runs a fragment shader for some texels of an array.
   * @param {Program} program @param {Inputs} inputs @param {Uniforms} uniforms
   * @param {WebGLTexture} target @param {number} at first texel @param {number} count
   */
  fill(program, inputs, uniforms, target, at, count) {
    const width = 1 << this.widthLog2;
    const y = Math.floor(at / width);
    const height = Math.ceil((at + count) / width) - y;
    this.begin(program);
    this.bind(program, inputs);
    this.set(program, uniforms);
    this.attach([[target]]);
    // Short vectors are what layers of a model hand on: no fragments for the rest of the row.
    if (height === 1) this.draw(y, count, height, at % width);
    else this.draw(y, width, height);
    this.rest();
  }

  /** Leaves nothing of ours bound. */
  rest() {
    const { gl } = this;
    this.attach([]);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.useProgram(null);
    gl.bindVertexArray(null);
    gl.bindBufferBase(gl.UNIFORM_BUFFER, 0, null);
    for (let unit = 7; unit-- > 0;) {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, null);
      gl.bindTexture(gl.TEXTURE_2D_ARRAY, null);
    }
  }

  /** Frees everything, and the context unless it or its canvas is yours. */
  destroy() {
    const { gl } = this;
    for (const object of [...this.objects]) this.free(object);
    gl.deleteFramebuffer(this.#framebuffer);
    gl.deleteVertexArray(this.#vertexArray);
    this.#isLost = true; // for the matrices
    if (this.#options.gl || this.#options.canvas) return;
    // Browsers keep 16 contexts: give this one back.
    gl.getExtension('WEBGL_lose_context')?.loseContext();
  }
}
