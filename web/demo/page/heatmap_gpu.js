/**
 * Painters of a decoded matrix: one class for each back end, with one method. The GPUs read the
 * matrix where they decoded it; the CPU's painter is for machines without a GPU.
 */
import { joinGlsl, joinWgsl, readShader } from '../../gpu/shaders.js';
import { ownText } from '../../llama/own_text.js';

/**
 * @typedef {object} View
 * @property {number} x column at the left @property {number} y row at the top
 * @property {number} columns to a pixel @property {number} rows to a pixel
 * @property {number} peak grid index that has the full colour
 * @property {number[][]} colours of zero, negative, positive: red, green, blue from 0 to 1
 */

const MOST_CELLS = 8;

/** @param {string} file in this folder, for joinWgsl() or joinGlsl() */
const ownShader = (file) => ({ file, text: ownText(new URL(file, import.meta.url)) });

/** Draws with WebGPU, from w.buffer. Only the image's pixels are read back. */
export class WebGpuPainter {
  /** @type {any} */
  #pipeline;
  /** @type {any} */
  #uniform = null;

  /** @param {any} matrix decoded */
  constructor(matrix) {
    this.matrix = matrix;
  }

  async prepare() {
    const { gpu } = this.matrix;
    const { device } = gpu;
    const { code } = await joinWgsl(['weight.wgsl', ownShader('heatmap.wgsl')]);
    await gpu.guard(async () => {
      const module = device.createShaderModule({ label: 'heatmap.wgsl', code });
      this.#pipeline = await device.createRenderPipelineAsync({
        label: 'heatmap.wgsl', layout: 'auto', vertex: { module, entryPoint: 'cover' },
        fragment: { module, entryPoint: 'shade', targets: [{ format: 'rgba8unorm' }] },
      });
      this.#uniform = gpu.buffer(96, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST, 'heat map');
    });
  }

  /**
   * @param {CanvasRenderingContext2D} to of a canvas whose width is a multiple of 64
   * @param {View} view
   */
  async paint(to, view) {
    const { gpu, buffer, rows, columns } = this.matrix;
    const { device } = gpu;
    const { width, height } = to.canvas;
    const data = new DataView(new ArrayBuffer(96));
    [view.x, view.y, view.columns, view.rows].forEach((v, i) => data.setFloat32(4 * i, v, true));
    data.setUint32(16, rows, true);
    data.setUint32(20, columns, true);
    data.setFloat32(24, view.peak, true);
    view.colours.forEach((colour, i) => [...colour, 1]
      .forEach((v, k) => data.setFloat32(32 + 16 * i + 4 * k, v, true)));
    const pixels = await gpu.guard(async () => {
      const image = device.createTexture({
        size: [width, height], format: 'rgba8unorm', label: 'heat map',
        usage: GPUTextureUsage.RENDER_ATTACHMENT | GPUTextureUsage.COPY_SRC,
      });
      const copy = gpu.buffer(4 * width * height, GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC, 'heat map');
      try {
        device.queue.writeBuffer(this.#uniform, 0, data.buffer);
        const encoder = device.createCommandEncoder();
        const pass = encoder.beginRenderPass({
          colorAttachments: [{ view: image.createView(), loadOp: 'clear', storeOp: 'store' }],
        });
        pass.setPipeline(this.#pipeline);
        pass.setBindGroup(0, device.createBindGroup({
          layout: this.#pipeline.getBindGroupLayout(0),
          entries: [{ binding: 0, resource: { buffer: this.#uniform } }, { binding: 1, resource: { buffer } }],
        }));
        pass.draw(3);
        pass.end();
        encoder.copyTextureToBuffer({ texture: image }, { buffer: copy, bytesPerRow: 4 * width }, [width, height]);
        device.queue.submit([encoder.finish()]);
        return await gpu.read(copy, 0, 4 * width * height);
      } finally {
        gpu.free(copy);
        image.destroy();
      }
    });
    to.putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), width, height), 0, 0);
  }

  destroy() {
    this.matrix.gpu.free(this.#uniform);
    this.matrix.destroy();
  }
}

/** Draws with WebGL2, from w.texture, on the canvas of the back end's context. */
export class WebGlPainter {
  /** @type {WebGLProgram | null} */
  #program = null;

  /** @param {any} matrix decoded */
  constructor(matrix) {
    this.matrix = matrix;
  }

  async prepare() {
    const { gpu } = this.matrix;
    const { gl } = gpu;
    const [vertex, { code }] = await Promise.all([readShader('fullscreen.vert.glsl'),
      joinGlsl(['weight.glsl', ownShader('heatmap.frag.glsl')], { WIDTH_LOG2: gpu.widthLog2 })]);
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, code]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
      gl.deleteShader(shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
      throw new Error(`heatmap.frag.glsl: ${gl.getProgramInfoLog(program)}`);
    }
    this.#program = program;
  }

  /** @param {CanvasRenderingContext2D} to @param {View} view */
  async paint(to, view) {
    const { gpu, texture, rows, columns } = this.matrix;
    const { gl } = gpu;
    const program = this.#program;
    const { width, height } = to.canvas;
    await gpu.guard(() => {
      Object.assign(gl.canvas, { width, height });
      const place = (/** @type {string} */ name) => gl.getUniformLocation(program, name);
      gl.useProgram(program);
      gl.bindFramebuffer(gl.FRAMEBUFFER, null);
      gl.viewport(0, 0, width, height);
      gl.activeTexture(gl.TEXTURE0);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.uniform1i(place('symbols'), 0);
      gl.uniform2f(place('origin'), view.x, view.y);
      gl.uniform2f(place('cells'), view.columns, view.rows);
      gl.uniform1f(place('image_height'), height);
      gl.uniform1f(place('peak'), view.peak);
      gl.uniform1ui(place('rows'), rows);
      gl.uniform1ui(place('columns'), columns);
      ['zero', 'negative', 'positive'].forEach((name, i) => gl.uniform4f(place(name), ...view.colours[i], 1));
      gl.drawArrays(gl.TRIANGLES, 0, 3);
      gl.bindTexture(gl.TEXTURE_2D, null);
      gl.useProgram(null);
      to.drawImage(gl.canvas, 0, 0);
    });
  }

  destroy() {
    this.matrix.gpu.gl.deleteProgram(this.#program);
    this.matrix.destroy();
  }
}

/** Draws on the CPU, from symbols that the wasm decoded. */
export class CpuPainter {
  /** @param {{rows: number, columns: number, symbols: Int8Array}} matrix */
  constructor(matrix) {
    this.matrix = matrix;
  }

  async prepare() {}

  /** @param {CanvasRenderingContext2D} to @param {View} view */
  async paint(to, view) {
    const { rows, columns, symbols } = this.matrix;
    const { width, height } = to.canvas;
    const image = to.createImageData(width, height);
    const range = (/** @type {number} */ start, /** @type {number} */ cells, /** @type {number} */ count) => {
      const low = Math.floor(Math.min(Math.max(start, 0), count - 1));
      const high = Math.min(Math.max(Math.ceil(start + cells - 0.001), low + 1), Math.max(low + 1, count));
      return [low, high, Math.floor((high - low + MOST_CELLS - 1) / MOST_CELLS)];
    };
    const across = Array.from({ length: width }, (_, x) => range(view.x + x * view.columns, view.columns, columns));
    for (let y = 0, at = 0; y < height; y++) {
      const [top, bottom, down] = range(view.y + y * view.rows, view.rows, rows);
      for (const [low, high, right] of across) {
        let strongest = 0;
        for (let row = top; row < bottom; row += down) {
          for (let column = low; column < high; column += right) {
            const symbol = symbols[row * columns + column];
            if (Math.abs(symbol) > Math.abs(strongest)) strongest = symbol;
          }
        }
        const share = Math.min(Math.abs(strongest) / view.peak, 1);
        const [zero, negative, positive] = view.colours;
        const end = strongest < 0 ? negative : positive;
        for (let k = 0; k < 3; k++) image.data[at++] = Math.round(255 * (zero[k] + share * (end[k] - zero[k])));
        image.data[at++] = 255;
      }
    }
    to.putImageData(image, 0, 0);
  }

  destroy() {}
}
