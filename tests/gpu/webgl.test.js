/** WebGL2 in Chromium, beyond the conformance suite: limits, splits, errors, loss. */
import assert from 'node:assert/strict';
import { withPage } from './chromium.js';

/** The least that Hansel takes, which is less than WebGL2 guarantees, and odd ones. */
const LIMITS = [
  { textureSize: 64, attachments: 4, layers: 20 }, // as many as the longest stream needs
  { textureSize: 100, layers: 13, steps: 1000 },
];

describe('WebGL2 in Chromium', function () {
  this.timeout(300000);
  /** @type {import('./chromium.js').TestPage} */
  let page;
  withPage(async (opened) => {
    page = opened;
    await page.run(async () => {
      const { encode, open } = await import('/web/hansel.js');
      const { webgl } = await import('/web/webgl.js');
      const cases = await import('/tests/gpu/cases.js');
      const coded = (shape = [64, 256], options = {}, more = {}) => cases.makeCase({
        dtype: 'I8', shape, distribution: 'gauss', sigma: 4, seed: 5, options, ...more,
      });
      /** A back end that is destroyed afterwards, and must own nothing then. */
      const withGl = async (options, body) => {
        const gpu = await webgl(options);
        try {
          return await body(gpu);
        } finally {
          gpu.destroy();
          if (gpu.objects.size) throw new Error(`${gpu.objects.size} objects left`);
        }
      };
      /** @returns {Promise<string>} the code that it rejects with */
      const codeOf = (promise) => promise.then(() => 'none', (error) => error.code ?? String(error));
      globalThis.t = { ...cases, encode, open, webgl, coded, withGl, codeOf };
    });
  });

  for (const limits of LIMITS) {
    const title = JSON.stringify(limits);
    it(`decodes every case and vector like the wasm, limits ${title}`, async () => {
      const { all, vectors, left, about } = await page.run((arg) => t.withGl({ limits: arg },
        async (gpu) => {
          const { checkVectors } = await import('/tests/gpu/vectors.js');
          const all = await t.checkCases(gpu);
          return {
            all, vectors: await checkVectors(gpu), left: gpu.objects.size,
            about: `${gpu.attachments} attachments of ${gpu.textureSize} px, ${gpu.layers} layers`,
          };
        }), limits);
      assert.deepEqual(all.problems, []);
      assert.deepEqual(vectors.problems, []);
      assert.ok(all.count > 50 && vectors.count > 50);
      assert.equal(left, 0);
      console.log(`      ${all.count} cases, ${vectors.count} vectors: ${about}`);
    });
  }

  it('calls WebGL2 without errors, and nothing beyond its minimums', async () => {
    const problems = await page.run(async (_, h) => {
      const { gl, finish } = h.createTestGl({ forceMinimums: true });
      const problems = await t.withGl({ gl }, async (gpu) => {
        if (gpu.attachments !== 4 || gpu.textureSize !== 2048) throw new Error('limits ignored');
        const found = [];
        for (const file of [await t.coded([37, 1001]), await t.coded([3, 20011], { streamLength: 16 }),
          await t.coded([50, 333], { lossless: true }, { dtype: 'F32' })]) {
          found.push(...await t.checkFile(gpu, file));
        }
        return found;
      });
      finish();
      return problems;
    });
    assert.deepEqual(problems, []);
  });

  it('splits tensors by streams when textures are small', async () => {
    const seen = await page.run(() => t.withGl({ limits: { textureSize: 64 } }, async (gpu) => {
      const seen = [];
      for (const [shape, options] of [[[640, 1000], { streamLength: 256 }], [[37, 10001], {}],
        [[1, 200003], { streamLength: 16 }], [[40000, 3], {}], [[300, 500], { lossless: true, streamLength: 4096 }]]) {
        const file = await t.coded(shape, options, options.lossless ? { dtype: 'F32' } : {});
        const w = await gpu.load(await t.open(file), 'w');
        seen.push({ parts: w.parts.length, problems: await t.checkFile(gpu, file) });
        w.destroy();
      }
      return seen;
    }));
    for (const { parts, problems } of seen) {
      assert.ok(parts > 1, `${parts} parts`);
      assert.deepEqual(problems, []);
    }
  });

  it('decodes in bands, and reads back in pieces', async () => {
    const same = await page.run(() => t.withGl({ limits: { steps: 1 << 18 } }, async (gpu) => {
      const data = new Int8Array(4100 * 4100).map((_, i) => Math.imul(i, 0x9e3779b1) >>> 24 & 0x4f);
      const model = await t.open(await t.encode({ w: { dtype: 'I8', shape: [4100, 4100], data } }));
      const w = await gpu.load(model, 'w');
      return t.firstDifference(await w.symbols(), data);
    }));
    assert.equal(same, -1);
  });

  it('multiplies grid steps exactly, whatever they are', async () => {
    const problems = await page.run(() => t.withGl({}, async (gpu) => {
      const r = t.random(77);
      const steps = [2 ** -126, 1.17549449e-38, 3.4e38, 2.7e36, 1 / 3, 0.1, 1e-7, 6e-8, 511.99, 8191,
        ...Array.from({ length: 30 }, () => 2 ** (250 * r.next() - 125))];
      const found = [];
      for (const step of steps) {
        const data = Float32Array.from({ length: 256 * 9 }, (_, i) => (i % 256 - 128) * Math.fround(step))
          .map((w) => (Number.isFinite(w) ? w : 0));
        const file = await t.encode({ w: { dtype: 'F32', shape: [9, 256], data } }, { step });
        found.push(...(await t.checkFile(gpu, file)).map((problem) => `${step}: ${problem}`));
      }
      return found;
    }));
    assert.deepEqual(problems, []);
  });

  it('decodes for a shader of one\'s own: weight.glsl', async () => {
    const bad = await page.run((_, h) => t.withGl({}, async (gpu) => {
      const model = await t.open(await t.coded([37, 101], { step: 0.125 }, { dtype: 'F32' }));
      const w = await gpu.load(model, 'w');
      await w.decodeOnGpu();
      const library = await (await fetch('/shaders/weight.glsl')).text();
      const vertex = await (await fetch('/shaders/fullscreen.vert.glsl')).text();
      const { gl } = gpu;
      gl.useProgram(h.linkProgram(gl, vertex, `#version 300 es
        ${library}
        uniform usampler2D src;
        layout(location = 0) out uvec4 dst;
        void main() {
          uint row = uint(gl_FragCoord.y), column = uint(gl_FragCoord.x);
          uint symbols = hansel_load(src, hansel_index(row, column, 101u));
          float weight = hansel_weight(symbols, column, 0.125);
          dst = uvec4(floatBitsToUint(weight), hansel_symbol(symbols, column), 0u, 0u);
        }`));
      const target = gpu.texture(101, 37, gl.RGBA32UI);
      gl.bindTexture(gl.TEXTURE_2D, w.texture);
      gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
      gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, target, 0);
      gl.viewport(0, 0, 101, 37);
      gl.drawArrays(gl.TRIANGLES, 0, 3);
      const got = new Uint32Array(4 * 101 * 37);
      gl.readPixels(0, 0, 101, 37, gl.RGBA_INTEGER, gl.UNSIGNED_INT, got);
      const values = new Uint32Array((await model.decode('w')).buffer);
      const symbols = await model.symbols('w');
      return symbols.findIndex((q, i) => got[4 * i] !== values[i] || got[4 * i + 1] !== q >>> 0);
    }));
    assert.equal(bad, -1);
  });

  it('refuses a texture that is not there, and a destroyed matrix', async () => {
    const codes = await page.run(() => t.withGl({}, async (gpu) => {
      const w = await gpu.load(await t.open(await t.coded()), 'w');
      const get = async () => w.texture;
      const codes = [await t.codeOf(get())];
      const late = t.codeOf(w.decodeOnGpu());
      w.destroy(); // meanwhile
      return [...codes, await late, await t.codeOf(get()), await t.codeOf(w.symbols()),
        await t.codeOf(w.decode()), await t.codeOf(w.verify()), gpu.objects.size];
    }));
    assert.deepEqual(codes, ['HANSEL_ERR_ARGUMENT', ...Array(5).fill('HANSEL_ERR_DESTROYED'), 0]);
  });

  it('verify() reports the first difference', async () => {
    const { verdict, expected } = await page.run(() => t.withGl({}, async (gpu) => {
      const w = await gpu.load(await t.open(await t.coded([20, 101])), 'w');
      const symbols = await w.symbols();
      if (!(await w.verify()).ok) throw new Error('not even the first time');
      const step = 7 * w.rowQuads + 25; // of column 100
      const words = await gpu.readArray(w.texture, step >> 2, 1);
      words[step & 3] ^= 0x40;
      gpu.write(w.texture, 4, step >> 2, words.slice());
      return { verdict: await w.verify(), expected: symbols[7 * 101 + 100] };
    }));
    assert.deepEqual(verdict, {
      ok: false, tensor: 'w', row: 7, column: 100, expected, got: (expected ^ 0x40) << 24 >> 24,
    });
  });

  it('verify() looks at tensors without streams too', async () => {
    const verdicts = await page.run(() => t.withGl({}, async (gpu) => {
      const w = await gpu.load(await t.open(await t.coded([9, 50], {}, { distribution: 'one' })), 'w');
      const first = await w.verify();
      gpu.write(w.texture, 4, 20, Uint32Array.of(0x07070807, 0, 0, 0)); // step 80: row 6, column 8
      return [first, await w.verify()];
    }));
    assert.deepEqual(verdicts, [{ ok: true }, {
      ok: false, tensor: 'w', row: 6, column: 9, expected: 7, got: 8,
    }]);
  });

  it('names a stream that is damaged', async () => {
    const errors = await page.run(() => t.withGl({}, async (gpu) => {
      const { readVectors, wrapBlob } = await import('/tests/gpu/vectors.js');
      const { Encoder } = await import('/web/core/encoder.js');
      const { readFile } = await import('/tests/gpu/files.js');
      const codec = await Encoder.create();
      const errors = [];
      for (const vector of (await readVectors()).bad) {
        if (vector.status !== 'HANSEL_ERR_CORRUPT') continue;
        const bytes = await readFile(`tests/vectors/${vector.file}`);
        const blob = codec.readHead(bytes);
        const model = await t.open(wrapBlob(codec, bytes, blob));
        const w = await gpu.load(model, 'w', { as: 'coded' });
        const error = await w.symbols().then(() => null, (e) => e);
        errors.push({ name: vector.name, code: error?.code, got: error?.got, stream: vector.position });
        w.destroy();
      }
      return errors;
    }));
    assert.ok(errors.length >= 10, `${errors.length} vectors`);
    for (const { name, code, got, stream } of errors) {
      assert.equal(code, 'HANSEL_ERR_CORRUPT', name);
      assert.equal(got, `none, in stream ${stream}`, name);
    }
  });

  it('names a stream that is damaged on the GPU, in any part', async () => {
    const errors = await page.run(() => t.withGl({ limits: { textureSize: 64 } }, async (gpu) => {
      const errors = [];
      for (const which of [0, 1]) {
        const model = await t.open(await t.coded([640, 1000], { streamLength: 250 }));
        const w = await gpu.load(model, 'w');
        const part = w.parts[which];
        gpu.write(part.words, 2, 3, new Uint32Array(8).fill(0x12345678));
        const error = await w.symbols().then(() => null, (e) => e);
        const again = await t.codeOf(w.decode());
        errors.push([error?.code, again, Number(/\d+/.exec(error?.got)) - part.first]);
        w.destroy();
      }
      return errors;
    }));
    for (const [code, again, stream] of errors) {
      assert.deepEqual([code, again], ['HANSEL_ERR_CORRUPT', 'HANSEL_ERR_CORRUPT']);
      assert.ok(stream >= 0 && stream < 2, `stream ${stream} of the part`);
    }
  });

  it('checks a file before anything is uploaded', async () => {
    const seen = await page.run(() => t.withGl({}, async (gpu) => {
      const file = await t.coded();
      const { start } = (await t.open(file)).place('w');
      const seen = [];
      let made = 0;
      const { texture } = gpu;
      gpu.texture = (...args) => { made++; return texture.apply(gpu, args); };
      const tryOne = async (at, options) => {
        const bad = file.slice();
        if (at) bad[at] ^= 1;
        seen.push([await t.codeOf(gpu.load(await t.open(bad), 'w', options)), made > 0, gpu.objects.size]);
        made = 0;
      };
      await tryOne(start);
      await tryOne(start + 40);
      const middle = start + (file.length - start >> 1);
      await tryOne(middle, { as: 'coded' }); // in the payload: found when it is there
      await tryOne(middle); // or before, by who codes it anew
      await tryOne(0, { signal: AbortSignal.abort() });
      seen.push(await t.codeOf(gpu.load(await t.open(file), 'x')));
      return seen;
    }));
    assert.deepEqual(seen, [['HANSEL_ERR_MAGIC', false, 0], ['HANSEL_ERR_CHECKSUM', false, 0],
      ['HANSEL_ERR_CHECKSUM', true, 0], ['HANSEL_ERR_CHECKSUM', false, 0], ['HANSEL_ERR_ABORTED', false, 0],
      'HANSEL_ERR_TENSOR']);
  });

  it('takes chunks of any size, says how far it is, and can be stopped', async () => {
    const { steady, stopped, left } = await page.run(() => t.withGl({}, async (gpu) => {
      const file = await t.coded([700, 1000], { lossless: true }, { dtype: 'BF16' });
      const model = await t.open(file);
      const [source] = model.sources;
      const { stream } = source;
      source.stream = async function* chop(start, end, options) { // odd sizes, odd alignment
        let size = 1;
        for await (const chunk of stream.call(source, start, end, options)) {
          for (let at = 0; at < chunk.length; at += size) {
            size = 1 + size * 7 % 65521;
            const part = chunk.subarray(at, at + size);
            const odd = new Uint8Array(part.length + 3).subarray(size % 4, size % 4 + part.length);
            odd.set(part);
            yield odd;
          }
        }
      };
      const seen = [];
      const w = await gpu.load(model, 'w', { onProgress: (p) => seen.push(p) });
      const values = t.firstDifference(await w.decode({ dtype: 'BF16' }), await model.decode('w'));
      w.destroy();
      const stop = new AbortController();
      const stopped = await t.codeOf(gpu.load(model, 'w', {
        signal: stop.signal, onProgress: () => stop.abort(),
      }));
      return {
        steady: values === -1 && seen.length > 10 && seen.at(-1).done === seen.at(-1).total
          && seen.every((p, i) => i === 0 || p.done > seen[i - 1].done),
        stopped, left: gpu.objects.size,
      };
    }));
    assert.deepEqual({ steady, stopped, left }, { steady: true, stopped: 'HANSEL_ERR_ABORTED', left: 0 });
  });

  it('loads and decodes two tensors at once', async () => {
    const differences = await page.run(() => t.withGl({}, async (gpu) => {
      const r = t.random(3);
      const make = () => Int8Array.from({ length: 300 * 400 }, () => Math.round(4 * r.gauss()));
      const data = { a: make(), b: make() };
      const model = await t.open(await t.encode({
        a: { dtype: 'I8', shape: [300, 400], data: data.a },
        b: { dtype: 'I8', shape: [399, 300], data: data.b.subarray(0, 399 * 300) },
      }));
      return Promise.all(['a', 'b', 'a'].map(async (name) => {
        const w = await gpu.load(model, name);
        const [symbols, same] = await Promise.all([w.symbols(), w.decode()]);
        return [t.firstDifference(symbols, same), t.firstDifference(symbols, await model.symbols(name))];
      }));
    }));
    assert.deepEqual(differences, Array(3).fill([-1, -1]));
  });

  it('frees everything: 200 loads do not grow', async () => {
    const sizes = await page.run(() => t.withGl({}, async (gpu) => {
      const model = await t.open(await t.coded([16, 64]));
      const sizes = new Set();
      for (let i = 0; i < 200; i++) {
        const w = await gpu.load(model, 'w');
        await w.decodeOnGpu();
        w.destroy();
        sizes.add(gpu.objects.size);
      }
      return [...sizes];
    }));
    assert.deepEqual(sizes, [0]);
  });

  it('opens and closes more contexts than a browser keeps', () => page.run(async () => {
    const model = await t.open(await t.coded());
    for (let i = 0; i < 17; i++) { // Chromium keeps 16
      await t.withGl({}, async (gpu) => {
        if (!(await (await gpu.load(model, 'w')).verify()).ok) throw new Error('wrong');
      });
    }
  }));

  it('survives the loss of its context, whenever it comes', async () => {
    const codes = await page.run(() => t.withGl({}, async (gpu) => {
      const model = await t.open(await t.coded([400, 1000]));
      const lose = () => gpu.gl.getExtension('WEBGL_lose_context')?.loseContext(); // or it is lost
      const codes = [];
      const check = async () => {
        const w = await gpu.load(model, 'w');
        if (!(await w.verify()).ok) throw new Error('wrong');
        return w;
      };
      codes.push(await t.codeOf(gpu.load(model, 'w', { onProgress: lose }))); // in a load
      const w = await check();
      const other = await gpu.load(model, 'w');
      const decoding = t.codeOf(other.symbols()); // in a decoding
      await new Promise((resolve) => { setTimeout(resolve, 5); });
      lose();
      codes.push(await decoding, await t.codeOf(w.symbols()));
      const again = await check();
      codes.push(await t.codeOf(w.decode()), await t.codeOf(other.verify())); // of the old context
      w.destroy();
      other.destroy();
      lose(); // between calls
      codes.push(await t.codeOf(again.symbols()));
      await check();
      return codes;
    }));
    assert.deepEqual(codes, Array(6).fill('HANSEL_ERR_LOST'));
  });

  it('survives the loss of a context of one\'s own, once it is restored', async () => {
    const codes = await page.run(async () => {
      const codes = [];
      const model = await t.open(await t.coded());
      const canvas = document.createElement('canvas');
      for (const own of [{ canvas }, { gl: canvas.getContext('webgl2') }]) {
        await t.withGl(own, async (gpu) => {
          const extension = gpu.gl.getExtension('WEBGL_lose_context');
          const w = await gpu.load(model, 'w');
          const turn = (name) => new Promise((resolve) => {
            canvas.addEventListener(name, (event) => { event.preventDefault(); resolve(); }, { once: true });
          });
          const lost = turn('webglcontextlost');
          extension.loseContext();
          codes.push(await t.codeOf(w.symbols()), await t.codeOf(gpu.load(model, 'w')));
          await lost;
          const restored = turn('webglcontextrestored');
          setTimeout(() => extension.restoreContext());
          await restored;
          codes.push(await t.codeOf(w.symbols()));
          const again = await gpu.load(model, 'w');
          codes.push((await again.verify()).ok);
        });
      }
      return codes;
    });
    const one = ['HANSEL_ERR_LOST', 'HANSEL_ERR_LOST', 'HANSEL_ERR_LOST', true];
    assert.deepEqual(codes, [...one, ...one]);
  });

  it('copes with the state of a context of one\'s own, and leaves it tidy', async () => {
    const { problems, left } = await page.run(async (_, h) => {
      const { gl, finish } = h.createTestGl({ check: false });
      for (const name of ['BLEND', 'CULL_FACE', 'DEPTH_TEST', 'SCISSOR_TEST', 'STENCIL_TEST']) {
        gl.enable(gl[name]);
      }
      gl.scissor(0, 0, 1, 1);
      gl.colorMask(false, true, false, true);
      gl.stencilFunc(gl.NEVER, 1, 1);
      for (const name of ['UNPACK_ROW_LENGTH', 'UNPACK_SKIP_PIXELS', 'PACK_SKIP_ROWS', 'PACK_ROW_LENGTH']) {
        gl.pixelStorei(gl[name], 3);
      }
      gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, true);
      gl.bindVertexArray(gl.createVertexArray());
      gl.enableVertexAttribArray(0);
      const sampler = gl.createSampler();
      gl.samplerParameteri(sampler, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
      for (let unit = 0; unit < 4; unit++) gl.bindSampler(unit, sampler);
      for (const target of ['PIXEL_PACK_BUFFER', 'PIXEL_UNPACK_BUFFER']) {
        gl.bindBuffer(gl[target], gl.createBuffer());
      }
      gl.enable(1); // an error of the owner's
      const problems = await t.withGl({ gl }, async (gpu) => t.checkFile(gpu, await t.coded([37, 1001])));
      const left = ['CURRENT_PROGRAM', 'FRAMEBUFFER_BINDING', 'VERTEX_ARRAY_BINDING', 'TEXTURE_BINDING_2D',
        'TEXTURE_BINDING_2D_ARRAY', 'PIXEL_PACK_BUFFER_BINDING', 'PIXEL_UNPACK_BUFFER_BINDING']
        .filter((name) => gl.getParameter(gl[name]) !== null);
      if (gl.isContextLost()) throw new Error('not ours to lose');
      finish();
      return { problems, left };
    }, null, { allow: /invalid capability/ });
    assert.deepEqual({ problems, left }, { problems: [], left: [] });
  });

  it('works in a worker', async () => {
    const answer = await page.run(() => new Promise((resolve, reject) => {
      const text = `import { webgl } from '${location.origin}/web/webgl.js';
        import { checkFile, makeCase } from '${location.origin}/tests/gpu/cases.js';
        try {
          const gpu = await webgl();
          postMessage(await checkFile(gpu, await makeCase({ dtype: 'I8', shape: [37, 1001],
            distribution: 'gauss', sigma: 4, seed: 5, options: {} })));
        } catch (error) { postMessage(String(error.stack)); }`;
      const worker = new Worker(URL.createObjectURL(new Blob([text], { type: 'text/javascript' })),
        { type: 'module' });
      worker.onmessage = ({ data }) => { worker.terminate(); resolve(data); };
      worker.onerror = reject;
    }));
    assert.deepEqual(answer, []);
  });

  it('has an error for everything else', async () => {
    const { adapter, argument, limit, shader, memory, gpuError, dtype } = await page.run(async () => {
      const flat = document.createElement('canvas');
      flat.getContext('2d');
      const adapter = await t.codeOf(t.webgl({ canvas: flat }));
      const argument = await t.codeOf(t.webgl({ limits: { textureSize: 32 } }));
      const limit = await t.withGl({ limits: { textureSize: 64, attachments: 4, layers: 8 } },
        async (gpu) => {
          const model = await t.open(await t.coded([4, 40000], { streamLength: 40000 }));
          const error = await gpu.load(model, 'w').catch((e) => e);
          return [error.code, error.expected, error.got, gpu.objects.size];
        });
      return t.withGl({}, async (gpu) => {
        const shader = await gpu.program('matvec', { TEXELS: 0 }).catch((e) => e);
        const model = await t.open(await t.coded([64, 256], { step: 0.1 }, { dtype: 'F32' }));
        const { gl } = gpu;
        const failWith = async (name) => {
          const { getError } = gl;
          gl.getError = () => { delete gl.getError; getError.call(gl); return gl[name]; };
          const code = await t.codeOf(gpu.load(model, 'w'));
          return [code, gpu.objects.size];
        };
        const w = await gpu.load(model, 'w');
        const dtype = [await t.codeOf(w.decode({ dtype: 'I8' })), await t.codeOf(w.decode({ dtype: 'F64' }))];
        w.destroy();
        return {
          adapter, argument, limit, shader: [shader.code, shader.got],
          memory: await failWith('OUT_OF_MEMORY'), gpuError: await failWith('INVALID_OPERATION'), dtype,
        };
      });
    });
    assert.equal(adapter, 'HANSEL_ERR_ADAPTER');
    assert.equal(argument, 'HANSEL_ERR_ARGUMENT');
    assert.deepEqual(limit.slice(0, 1), ['HANSEL_ERR_LIMIT']);
    assert.match(`${limit[1]}, ${limit[2]}`, /at most \d+ .*, \d+/);
    assert.equal(limit[3], 0);
    assert.equal(shader[0], 'HANSEL_ERR_SHADER');
    assert.match(shader[1], /ERROR/);
    assert.deepEqual(memory, ['HANSEL_ERR_MEMORY', 0]);
    assert.deepEqual(gpuError, ['HANSEL_ERR_GPU', 0]);
    assert.deepEqual(dtype, ['HANSEL_ERR_DTYPE', 'HANSEL_ERR_DTYPE']);
  });

  it('does not block the page', async () => {
    const turns = await page.run(() => t.withGl({}, async (gpu) => {
      const data = new Int8Array(1 << 24).map((_, i) => Math.imul(i, 0x9e3779b1) >>> 28);
      const model = await t.open(await t.encode({ w: { dtype: 'I8', shape: [4096, 4096], data } }));
      const w = await gpu.load(model, 'w');
      let turns = 0;
      const timer = setInterval(() => { turns++; }, 1);
      await w.decodeOnGpu();
      clearInterval(timer);
      return turns;
    }));
    assert.ok(turns >= 5, `${turns} turns`);
  });
});
