/** What bench.js found, as Markdown and as a picture. Pages load this, too. */
/** @typedef {import('./bench.js').Results} Results */
/** @typedef {import('./gpu.js').GpuReport} GpuReport */
/** @typedef {[number, number, number]} Spread least, median, most */

/** @param {number[]} values @returns {Spread} */
export function spread(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const median = (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
  return [sorted[0], median, sorted[sorted.length - 1]];
}

/** @param {number} n @returns {string} three or so digits that count */
export const short = (n) => (n >= 100 ? n.toFixed(0) : n.toPrecision(3));

/** @param {Spread | null} values @returns {string} median, and least to most */
export const ranged = (values) => (values
  ? `${short(values[1])} (${short(values[0])}-${short(values[2])})` : '-');

/** @param {(string | number)[][]} rows the first is the heading; columns after it are numbers */
export function table(rows) {
  const [heading, ...body] = rows.map((row) => row.join(' | '));
  const rule = rows[0].map((_, i) => (i ? '---:' : '---')).join(' | ');
  return [heading, rule, ...body].map((line) => `| ${line} |`).join('\n');
}

const milliseconds = (/** @type {Spread | null} */ values) => (values ? `${values[1].toFixed(2)} (${
  values[0].toFixed(2)}-${values[2].toFixed(2)})` : '-');

/** @param {Results} results */
export function machineText({ command, machine, repeats, quick }) {
  const { cpu, cores, memory, system, load, versions, revision, date } = machine;
  const [gcc, emcc] = [versions.gcc, versions.emcc].map(
    (text) => /\d+\.\d+\.\d+(?=\D*$)/.exec(text)?.[0] ?? text);
  return [
    `\`${command}\`, ${date}, revision ${revision}.`,
    `${cpu}, ${cores} cores, ${short(memory / 2 ** 30)} GiB; ${system}.`,
    `Node ${versions.node} (V8 ${versions.v8});`,
    `Hansel by gcc ${gcc} -O3 (no -march) and Emscripten ${emcc};`,
    `zlib ${versions.zlib}, brotli ${versions.brotli},`,
    `@bokuweb/zstd-wasm ${versions['zstd-wasm']}, fflate ${versions.fflate}, fzstd ${versions.fzstd}.`,
    `${repeats} rounds after an uncounted one; load ${load.toFixed(2)} before the start.`,
    ...(quick ? ['A quick run, with little data: read it with care.'] : []),
  ].join('\n');
}

/** As a table. @param {import('./file_sizes.js').FileSize[]} sizes */
export function fileSizeTable(sizes) {
  const kb = (/** @type {number | null} */ bytes) => (bytes === null ? '–' : (bytes / 1000).toFixed(1));
  return table([
    ['file', 'plain, KB', 'Hansel', ...Object.keys(sizes[0].peers), 'to the smallest', 'encode, MB/s', 'decode, MB/s'],
    ...sizes.map(({ model, what, bytes, hansel, encode: e, decode: d, peers }) => {
      const least = Math.min(...Object.values(peers).filter((n) => n !== null));
      return [`${model}, ${what}`, kb(bytes), kb(hansel), ...Object.values(peers).map(kb),
        `${(100 * hansel / least - 100).toFixed(2)} %`, (bytes / e / 1e6).toFixed(0), (bytes / d / 1e6).toFixed(0)];
    }),
  ]);
}

/** @param {Results['sets'][0]} set */
function setText({ set, what, shape, entropy, coders }) {
  const anchors = [coders[0], coders.find((coder) => coder.anchor)];
  const rows = coders.map(({ name, bits, encode, decode, decodes }) => [
    name, bits.toFixed(4), `${(100 * (bits / entropy - 1)).toFixed(2)} %`, ranged(encode),
    ranged(decode), ...anchors.map((anchor) => (decode && anchor
      ? spread(decodes.map((speed, i) => speed / anchor.decodes[i]))[1].toPrecision(2) : '-')),
  ]);
  return `### ${set}: ${what}

${shape.join(' x ')} symbols, entropy ${entropy.toFixed(4)} bits.

${table([['coder', 'bits', 'over entropy', 'encode M/s', 'decode M/s', 'to memcpy', 'to wasm SIMD'],
    ...rows])}`;
}

/** @param {Spread} values @returns {string} */
const times = ([least, median, most]) => (
  `${median.toPrecision(2)} (${least.toPrecision(2)}-${most.toPrecision(2)})`);

/** @param {Awaited<ReturnType<typeof import('./threads.js').measureThreads>>} found */
export function threadTable({ rows }) {
  const gained = (/** @type {Spread | null} */ gain) => (gain ? times(gain) : '-');
  return table([['what', 'encode ms', 'gain', 'decode ms', 'gain'],
    ...rows.map(({ what, encode, encodeGain, decode, decodeGain }) => [
      what, milliseconds(encode), gained(encodeGain), milliseconds(decode), gained(decodeGain)])]);
}

/** @param {GpuReport['runs'][0]} run one renderer */
function gpuText({ where, adapter, timer, layout, rounds, shape, decode, loads, products, glProducts, lengths }) {
  const names = Object.values(adapter).filter(Boolean).join(', ');
  const [rows, columns] = shape;
  const productTable = (/** @type {typeof products} */ grids) => table([['bits', 'matrix', 'form', 'memory',
    'batch', 'plain M weights/s', 'M weights/s', 'to plain', 'to coded'],
  ...grids.flatMap(({ rows: found }) => found.map((row) => [
    row.bits.toFixed(2), `${row.rows} x ${row.columns}`, row.form, row.memory.toFixed(3), row.batch || 'int8',
    ranged(row.plain), ranged(row.coded), times(row.ratio), times(row.gain)]))]);
  return `### WebGPU, ${where}

${names}; timed by ${timer}, ${rounds} rounds after warming up.

#### Decoding ${rows} x ${columns} symbols of round(4 randn)

${table([['what', 'S', 'bits', 'M symbols/s', 'to the prototype'],
    ...decode.flatMap(({ streamLength, bits, rows: found }) => found.map((row) => (
      [row.name, streamLength, bits.toFixed(2), ranged(row.speed), times(row.ratio)])))])}

#### load() of ${rows} x ${columns}, about 4 bits, in milliseconds

${table([['as', 'ms'], ...loads.map(({ way, ms }) => [way, milliseconds(ms)])])}

#### Products on coded weights

By form of the weights in the GPU's memory: coded as in the file, prefix codes, or packed. Memory is in parts of the
coded bytes; "to coded" is against the kernel that decodes the file's streams. The plain kernel multiplies the same weights as int8 bytes (shaders/matvec_plain.wgsl, of a single vector four
rows to a${layout === 'group' ? ' workgroup' : 'n invocation'}, of a batch one).

${productTable(products)}
${glProducts.length ? `
#### Products on WebGL2

The same with fragment shaders, timed by the clock
until a fence is passed.

${productTable(glProducts)}
` : ''}
#### The length of streams

Batch 1, ${rows} x ${columns}.

${table([['S', 'bits', 'coded M weights/s', 'to plain'], ...lengths.map((row) => (
    [row.streamLength, row.bits.toFixed(3), ranged(row.coded), times(row.ratio)]))])}`;
}

/** @param {GpuReport} results of gpu.js @returns {string} Markdown */
export function gpuReport({ command, date, cpu, runs }) {
  return `## On the GPU's side

\`${command}\`, ${date}, ${cpu}.
S is the length of streams in symbols; ratios are medians of those of each round. A kernel's speed
is that of the GPU alone; decodeOnGpu() and Model.symbols() are what a page waits for, after
loading.

${runs.map(gpuText).join('\n\n')}
`;
}

/** @param {Results} results @returns {string} Markdown */
export function report(results) {
  const { sets, lengths, first, page, threads, sizes, files, gpu } = results;
  const timers = sets[sets.length - 1].coders.map(({ name, timed }) => `- ${name}: ${timed}.`).join('\n');
  const nanoseconds = sizes.map(({ encode, decode }) => [encode, decode].map(
    (speed) => 1e3 / (speed?.[1] ?? NaN)));
  const million = nanoseconds[sizes.findIndex(({ symbols }) => symbols === 1e6)];
  const most = sizes[sizes.length - 1].symbols;
  const growth = nanoseconds[sizes.length - 1].map((ns, i) => (ns / million[i]).toFixed(2));
  return `${machineText(results)}

M/s is millions of symbols a second: the median, and in brackets the slowest and the fastest round.
One symbol is one weight and one byte. Bits are those of all that a file or blob holds.

![Bits a weight against decoding speed, on up16](../bench.svg)

${sets.map(setText).join('\n\n')}

### What is inside the timers

${timers}

### Stream length, on up16

The C functions alone: as "Hansel wasm SIMD, core" and "Hansel native, streams".

${table([['symbols a stream', 'bits', 'over entropy', 'wasm encode M/s', 'wasm decode M/s',
    'native encode M/s', 'native decode M/s'],
  ...lengths.map(({ length, wasm, native }) => [length, wasm.bits.toFixed(4),
    `${(100 * (wasm.bits / sets[0].entropy - 1)).toFixed(2)} %`, ranged(wasm.encode),
    ranged(wasm.decode), ranged(native.encode), ranged(native.decode)])])}

### The first decode, in milliseconds

${first[0].symbols} symbols of up16 through web/core/codec.js. Compile is WebAssembly.compile of a module
that no cache knows; first is the instance and its first decode, before V8 has optimized the code;
warm the twelfth decode of the same instance.

${table([['module', 'bytes', 'compile', 'first', 'warm'], ...first.map((row) => (
    [row.name, row.bytes, ...[row.compile, row.first, row.warm].map(milliseconds)]))])}

### In a page, in milliseconds

Headless Chromium, a new browser each time, the file in memory, ${page[0].symbols} symbols of up16.
Load is the import of min/hansel.js; open includes fetching and compiling the module; first is the
first decode, warm the best of five more, encode the best of two. Task is the longest time that the
page's thread was kept busy at a stretch, in processor time; a frame has 16.7 ms.

${table([['where', 'threads', 'load', 'open', 'first', 'warm', 'encode', 'task'],
    ...page.map((row) => [row.where, row.threads,
      ...[row.load, row.open, row.first, row.warm, row.encode, row.task].map(milliseconds)])])}

### Two threads

${threads.symbols} symbols of up16 through the API, workers up already. Gain is what is done in the
same time, beside one thread, by rounds. The last row is what this machine has to give: two processes,
each with a tensor and a thread of its own, that share nothing.

${threadTable(threads)}

### Cost against size

encodeTo() and open() with Model.slices(), one thread, on up16 over and over; the file is in memory.

${table([['weights', 'bits', 'encode s', 'decode s', 'encode ns/weight', 'decode ns/weight'],
  ...sizes.map(({ symbols, bits }, i) => [symbols, bits.toFixed(4),
    ...nanoseconds[i].map((ns) => (ns * symbols / 1e9).toPrecision(3)),
    ...nanoseconds[i].map(short)])])}

From 10^6 to ${most} weights, the time a weight changes by the factors ${growth[0]} (encode) and
${growth[1]} (decode); linear cost is 1.

### Whole files of quantized weights

Coded without loss and restored byte for byte, in KB (1000 bytes), beside general compressors at their
strongest. The trained model is the page's; the others are one matrix of 2048 x 4096 whose rows have different
scales. Speeds are of the plain file's bytes, through encode() and decode() on one thread, the fastest of three.

${fileSizeTable(files)}
${gpu ? `\n${gpuReport(gpu)}` : ''}`;
}

/** @param {string} text */
const escape = (text) => text.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`);

const STYLE = `
  text { font: 12px system-ui, sans-serif; fill: #555 }
  .title { font-size: 15px; fill: #222 } .middle { text-anchor: middle } .end { text-anchor: end }
  path { fill: none; stroke: #8883 } .leader { stroke: #8888 }
  .entropy { stroke: #888; stroke-dasharray: 4 4 }
  .ours { fill: #0b62c4 } .theirs { fill: #b4500a }
  @media (prefers-color-scheme: dark) {
    text { fill: #aaa } .title { fill: #eee } .ours { fill: #6cb2ff } .theirs { fill: #ff9d5c }
  }
`;

/** @param {Results} results @returns {string} SVG: bits a weight against decoding speed, on up16 */
export function plot({ sets: [{ coders, entropy, set }], machine, command }) {
  const points = coders.slice(1).flatMap(({ name, bits, decode, ours }) => (
    decode ? [{ name, bits, speed: decode[1], kind: ours ? 'ours' : 'theirs' }] : []));
  points.sort((a, b) => b.speed - a.speed);
  const [width, height] = [820, 520];
  const [left, right, top, bottom] = [70, width - 30, 56, height - 60];
  const lowBits = Math.floor(20 * entropy) / 20;
  const highBits = Math.max(...points.map(({ bits }) => bits)) + 0.2;
  const lowSpeed = 50;
  const highSpeed = 1.5 * Math.max(points[0].speed, 1000);
  const px = (/** @type {number} */ n) => Number(n.toFixed(1));
  const xOf = (/** @type {number} */ bits) => px(
    left + (bits - lowBits) / (highBits - lowBits) * (right - left));
  const yOf = (/** @type {number} */ speed) => px(
    bottom - Math.log(speed / lowSpeed) / Math.log(highSpeed / lowSpeed) * (bottom - top));
  /** @type {string[]} */
  const parts = [];
  const write = (/** @type {string} */ kind, /** @type {number} */ x, /** @type {number} */ y,
    /** @type {string} */ text) => parts.push(
    `<text class="${kind}" x="${px(x)}" y="${px(y)}">${escape(text)}</text>`);

  for (const speed of [50, 100, 200, 500, 1000, 2000, 5000].filter((n) => n <= highSpeed)) {
    parts.push(`<path d="M${left} ${yOf(speed)}H${right}"/>`);
    write('end', left - 8, yOf(speed) + 4, `${speed}`);
  }
  for (let tick = Math.ceil(lowBits * 10); tick <= highBits * 10; tick++) {
    parts.push(`<path d="M${xOf(tick / 10)} ${top}V${bottom}"/>`);
    write('middle', xOf(tick / 10), bottom + 18, (tick / 10).toFixed(1));
  }
  parts.push(`<path class="entropy" d="M${xOf(entropy)} ${top}V${bottom}"/>`);
  write('middle', xOf(entropy), top - 6, 'entropy');
  write('title', left, 24, `${set}: left is smaller, up is faster to decode`);
  write('middle', (left + right) / 2, bottom + 38, 'bits a weight');
  write('end', right, height - 5, `${command}; ${machine.cpu}`);
  parts.push(`<text class="middle" transform="translate(18 ${(top + bottom) / 2}) rotate(-90)">`
    + 'decoded, millions of weights a second</text>');

  // Labels stand to the right of all points that are near in bits, in their order.
  /** @type {Map<number, number>} */
  const lowest = new Map();
  for (const { name, bits, speed, kind } of points) {
    const [x, y] = [xOf(bits), yOf(speed)];
    const column = 16 + Math.max(...points.map((p) => xOf(p.bits)).filter((at) => at < x + 70));
    const line = Math.max(y + 4, (lowest.get(column) ?? 0) + 15);
    lowest.set(column, line);
    parts.push(`<path class="leader" d="M${x} ${y}L${px(column - 3)} ${px(line - 4)}"/>`,
      `<circle class="${kind}" cx="${x}" cy="${y}" r="4.5"/>`);
    write(kind, column, line, `${name}: ${short(speed)}`);
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img"
  aria-label="Bits a weight against decoding speed">
<style>${STYLE}</style>
${parts.join('\n')}
</svg>
`;
}
