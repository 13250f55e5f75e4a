// open(url, { resumable: true }): what a stopped read had received is not asked for again.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { WasmBackend } from '../../web/gpu/wasm_device.js';
import { encode, open } from '../../web/hansel.js';

describe('resumable', function () {
  this.timeout(60000);
  let server;
  let url;
  let file;
  let etag = '"1"';
  const ranges = [];

  before(async () => {
    const data = new Float32Array(1500 * 1024).map((_, i) => Math.sin(i * i));
    file = await encode({ w: { dtype: 'F32', shape: [1500, 1024], data } }, { bits: 7 });
    server = createServer(async (request, response) => {
      const [, from, to] = /bytes=(\d+)-(\d+)/.exec(request.headers.range).map(Number);
      ranges.push({ from, to, ifRange: request.headers['if-range'] });
      const end = Math.min(to + 1, file.length);
      response.writeHead(206, {
        ETag: etag, 'Content-Range': `bytes ${from}-${end - 1}/${file.length}`, 'Content-Length': end - from,
      });
      for (let at = from; at < end && !response.destroyed; at += 1 << 16) {
        response.write(file.subarray(at, Math.min(at + (1 << 16), end)));
        await new Promise((done) => { setTimeout(done, 2); });
      }
      response.end();
    });
    await new Promise((done) => { server.listen(0, '127.0.0.1', done); });
    url = `http://127.0.0.1:${server.address().port}/f.safetensors`;
  });
  after(() => {
    server.close();
    server.closeAllConnections();
  });

  /** Loads until half of the tensor is there. */
  async function stopHalfway(model) {
    const stop = new AbortController();
    let got = 0;
    await assert.rejects(new WasmBackend().load(model, 'w', {
      signal: stop.signal,
      onProgress: ({ done, total }) => {
        got = done;
        if (done > total / 2) stop.abort();
      },
    }), { code: 'HANSEL_ERR_ABORTED' });
    return got;
  }

  it('asks for the rest only, if the file is still the same one', async () => {
    const model = await open(url, { resumable: true });
    const got = await stopHalfway(model);
    ranges.length = 0;
    const matrix = await new WasmBackend().load(model, 'w');
    assert.equal(ranges.length, 1);
    assert.equal(ranges[0].ifRange, '"1"');
    assert.ok(ranges[0].from >= got && ranges[0].from < file.length, `${ranges[0].from} after ${got}`);
    const again = await open(file);
    assert.deepEqual(await matrix.matvec(new Float32Array(1024).fill(1)),
      await again.matvec('w', new Float32Array(1024).fill(1)));
    ranges.length = 0;
    await model.verify('w'); // once complete, nothing is kept
    assert.ok(ranges.every(({ from }) => from <= 1 << 16));
    await model.close();
  });

  it('survives several stops', async () => {
    const model = await open(url, { resumable: true });
    await stopHalfway(model);
    await stopHalfway(model);
    await model.head('w');
    ranges.length = 0;
    await model.verify('w');
    assert.ok(ranges.length > 0 && ranges[0].from > file.length / 2 - (1 << 17));
    await model.close();
  });

  it('names a file that has changed meanwhile', async () => {
    const model = await open(url, { resumable: true });
    await stopHalfway(model);
    etag = '"2"';
    await assert.rejects(new WasmBackend().load(model, 'w'), { code: 'HANSEL_ERR_CHANGED' });
    etag = '"1"';
    await model.close();
  });

  it('keeps nothing unless told', async () => {
    const model = await open(url);
    await stopHalfway(model);
    ranges.length = 0;
    await new WasmBackend().load(model, 'w');
    assert.ok(ranges[0].from <= 1 << 16);
    await model.close();
  });
});
