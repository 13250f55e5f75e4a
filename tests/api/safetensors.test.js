// The container reader must refuse every file that could be read in two ways, and say why.
import assert from 'node:assert/strict';
import { parseJson } from '../../web/file/json.js';
import { dtypeBits, elementCount, readHeader } from '../../web/file/safetensors.js';
import { buildHeader } from '../../web/file/write_header.js';

const BAD = 'HANSEL_ERR_SAFETENSORS';
const utf8 = (text) => new TextEncoder().encode(text);

/** A file of the given header, length and data, for files no writer would make. */
function file(json, dataBytes = 0, declared) {
  const header = typeof json === 'string' ? utf8(json) : json;
  const bytes = new Uint8Array(8 + header.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(declared ?? header.length), true);
  bytes.set(header, 8);
  return bytes;
}

const read = (bytes) => readHeader({
  size: bytes.length,
  read: async (start, end) => bytes.subarray(start, end),
});

const refused = (json, dataBytes, details = {}) =>
  assert.rejects(read(file(json, dataBytes)), { name: 'HanselError', code: BAD, ...details });

const tensor = (begin, end, shape = [end - begin], dtype = 'U8') =>
  `{"dtype":"${dtype}","shape":${JSON.stringify(shape)},"data_offsets":[${begin},${end}]}`;

describe('safetensors: reading', function () {
  this.timeout(30000);
  it('reads tensors, metadata and absolute offsets', async () => {
    const json = '{ "b":\t{"shape":[2,3],"data_offsets":[4,28],"dtype":"F32"},\n'
      + '"__metadata__":{"k":"v\\u00e9","":""}, "a":' + tensor(0, 4, [], 'F32') + '}   ';
    const header = await read(file(json, 28));
    const { length } = utf8(json);
    assert.equal(header.dataStart, 8 + length);
    assert.equal(header.headerBytes.length, 8 + length);
    assert.deepEqual([...header.metadata], [['k', 'v\u00e9'], ['', '']]);
    assert.deepEqual([...header.tensors], [
      ['b', { dtype: 'F32', shape: [2, 3], start: 12 + length, end: 36 + length }],
      ['a', { dtype: 'F32', shape: [], start: 8 + length, end: 12 + length }],
    ]);
  });

  it('reads a file without tensors', async () => {
    const { tensors, metadata } = await read(file('{}'));
    assert.equal(tensors.size + metadata.size, 0);
  });

  it('knows every dtype, sub-byte ones too', async () => {
    const sizes = {
      BOOL: 8, U8: 8, I8: 8, F8_E5M2: 8, F8_E4M3: 8, F8_E8M0: 8, F8_E4M3FNUZ: 8, F8_E5M2FNUZ: 8,
      I16: 16, U16: 16, F16: 16, BF16: 16, I32: 32, U32: 32, F32: 32, F64: 64, I64: 64, U64: 64,
      C64: 64, F4: 4, F6_E2M3: 6, F6_E3M2: 6,
    };
    for (const [dtype, bits] of Object.entries(sizes)) {
      assert.equal(dtypeBits(dtype), bits);
      const { tensors } = await read(file(`{"t":${tensor(0, bits / 2, [4], dtype)}}`, bits / 2));
      assert.equal(tensors.get('t').dtype, dtype);
    }
    for (const dtype of ['F33', 'f32', '', '__proto__', 'constructor', undefined]) {
      assert.throws(() => dtypeBits(dtype), { code: BAD });
    }
    await refused(`{"t":${tensor(0, 2, [3], 'F4')}}`, 2, { where: 't', got: '12 bits' });
  });

  it('treats names of Object.prototype as ordinary names', async () => {
    const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', '', '0', '\u00e9"\\'];
    const header = buildHeader(names.map((n) => [n, { dtype: 'U8', shape: [1], bytes: 1 }]),
      [['__proto__', 'm'], ['constructor', 'n']]);
    const { tensors, metadata } = await read(Uint8Array.of(...header, ...names.map(() => 0)));
    assert.deepEqual([...tensors.keys()], names);
    assert.deepEqual([...metadata], [['__proto__', 'm'], ['constructor', 'n']]);
    assert.equal(tensors.get('constructor').start, header.length + 1);
    await refused('{"__proto__":{"dtype":"U8"}}', 0, { where: '__proto__' });
    const hidden = '{"t":{"__proto__":{"dtype":"U8"},"shape":[],"data_offsets":[0,1]}}';
    await refused(hidden, 1, { where: 't' });
  });

  it('is truncated at every shorter length, and trailing at every longer one', async () => {
    const whole = Uint8Array.of(...buildHeader([
      ['a', { dtype: 'U8', shape: [3], bytes: 3 }], ['b', { dtype: 'F16', shape: [2], bytes: 4 }],
    ]), ...new Uint8Array(7));
    await read(whole);
    for (let n = 0; n < whole.length; n++) {
      const details = { code: 'HANSEL_ERR_TRUNCATED', got: n };
      await assert.rejects(read(whole.slice(0, n)), details, `${n} bytes`);
    }
    for (const n of [1, 2, 1000]) {
      await assert.rejects(read(Uint8Array.of(...whole, ...new Uint8Array(n))), {
        code: 'HANSEL_ERR_TRAILING', got: whole.length + n,
      });
    }
  });

  it('refuses a header too long, empty, not JSON, not UTF-8', async () => {
    for (const length of [100_000_001n, 2n ** 32n, 2n ** 53n, 2n ** 64n - 1n]) {
      await assert.rejects(read(file('{}', 0, length)), { code: BAD, got: `${length}` });
    }
    await assert.rejects(read(file('{}', 0, 100_000_000)), { code: 'HANSEL_ERR_TRUNCATED' });
    await refused('', 0, { got: 'an empty header' });
    for (const json of [' {}', '[]', '\ufeff{}', '"{}"', 'null']) {
      await refused(json, 0, { message: /does not begin with \{/ });
    }
    for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80]]) {
      const json = Uint8Array.of(...utf8('{"__metadata__":{"'), ...bytes, ...utf8('":""}}'));
      await refused(json, 0, { message: /not UTF-8/ });
    }
    for (const tail of ['\n', '\t', '\0', ' \n ', '{}', ',', 'x']) {
      await refused(`{}${tail}`, 0, { message: /only spaces/ });
    }
    for (const json of ['{', '{]', '{"a"}', '{"a":}', '{a:1}', '{"a":1,}', '{,}', '{"a":[1,]}',
      '{"a":"\n"}', '{"a":"\\x"}', '{"a":"\\u12"}', '{"a":"', '{"a":"\\', '{"a":tru}',
      '{"a":NaN}', '{"a":01}', '{"a":+1}', "{'a':1}", '{"a":"\\ud800"}', '{"\\udc00":1}']) {
      await refused(json);
    }
    await refused(`{"a":${'['.repeat(1e6)}`, 0, { message: /nested deeper/ });
  });

  it('refuses duplicate keys at every level, escaped or not', async () => {
    const t = tensor(0, 1);
    const message = /duplicate key/;
    await refused(`{"a":${t},"a":${t}}`, 1, { message, where: 'a' });
    await refused(`{"a":${t},"\\u0061":${t}}`, 1, { message, where: 'a' });
    await refused(`{"\\u00e9":${t},"\u00e9":${t}}`, 1, { message });
    await refused('{"__metadata__":{},"__metadata\\u005f_":{}}', 0, { message });
    await refused('{"__metadata__":{"k":"1","k":"2"}}', 0, { message });
    await refused('{"__metadata__":{"\\/":"1","/":"2"}}', 0, { message });
    await refused('{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1, {
      message, where: 'a',
    });
    await refused(`{"__proto__":${t},"__proto__":${t}}`, 1, { message });
    await read(file(`{"a":${t},"A":${tensor(1, 2)},"\\\\u0061":${tensor(2, 3)}}`, 3));
  });

  it('refuses numbers that are not plain integers', async () => {
    for (const n of ['-1', '-0', '1.5', '1e3', '1E0', '1.0', '9007199254740992',
      '9007199254740993', '18446744073709551616', `1${'0'.repeat(400)}`]) {
      const details = { where: 't', message: /plain integer/ };
      await refused(`{"t":{"dtype":"U8","shape":[${n}],"data_offsets":[0,1]}}`, 1, details);
      await refused(`{"t":{"dtype":"U8","shape":[1],"data_offsets":[0,${n}]}}`, 1, details);
      await refused(`{"t":{"dtype":"U8","shape":[1],"data_offsets":[${n},1]}}`, 1, details);
    }
  });

  it('refuses tensor entries with missing, additional or mistyped fields', async () => {
    for (const entry of ['null', '1', '"U8"', '[]', '{}', 'true',
      '{"dtype":"U8","shape":[1]}', '{"dtype":"U8","data_offsets":[0,1]}',
      '{"shape":[1],"data_offsets":[0,1]}',
      '{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}',
      '{"dtype":"U8","shape":[1],"data_offset":[0,1]}',
      '{"dtype":8,"shape":[1],"data_offsets":[0,1]}',
      '{"dtype":"X8","shape":[1],"data_offsets":[0,1]}',
      '{"dtype":"u8","shape":[1],"data_offsets":[0,1]}',
      '{"dtype":"U8","shape":1,"data_offsets":[0,1]}',
      '{"dtype":"U8","shape":["1"],"data_offsets":[0,1]}',
      '{"dtype":"U8","shape":[null],"data_offsets":[0,1]}',
      '{"dtype":"U8","shape":[[1]],"data_offsets":[0,1]}',
      '{"dtype":"U8","shape":[1],"data_offsets":[1]}',
      '{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}',
      '{"dtype":"U8","shape":[1],"data_offsets":[1,0]}',
      '{"dtype":"U8","shape":[1],"data_offsets":{}}',
      '{"dtype":"U8","shape":[1],"data_offsets":["0","1"]}']) {
      await refused(`{"t":${entry}}`, 1, { where: 't' });
    }
  });

  it('refuses metadata that is not an object of strings', async () => {
    for (const value of ['null', '[]', '"x"', '1', '{"k":1}', '{"k":null}', '{"k":{}}',
      '{"k":["a"]}', '{"a":"b","k":true}']) {
      await refused(`{"__metadata__":${value}}`, 0, { message: /__metadata__/ });
    }
  });

  it('refuses sizes that disagree or overflow', async () => {
    await refused(`{"t":${tensor(0, 5, [2, 3])}}`, 5, {
      where: 't', expected: '6 bytes', got: 5,
    });
    await refused(`{"t":${tensor(0, 6, [3], 'F32')}}`, 6, { where: 't', expected: '12 bytes' });
    await refused(`{"t":${tensor(0, 1, [0])}}`, 1, { where: 't' });
    const huge = 2 ** 53 - 1;
    for (const shape of [[huge, 2], [2 ** 32, 2 ** 32], [huge, huge, 0], [2 ** 27, 2 ** 27]]) {
      await refused(`{"t":${tensor(0, 1, shape)}}`, 1, { where: 't', message: /too many/ });
      assert.throws(() => elementCount(shape), { code: BAD });
    }
    await refused(`{"t":${tensor(0, 1, [huge], 'F64')}}`, 1, { where: 't', message: /too large/ });
    await refused(`{"t":${tensor(huge - 1, huge)}}`, 1, { where: 't', message: /too large/ });
    assert.equal(elementCount([]), 1);
    assert.equal(elementCount([2, 0, 3]), 0);
    assert.equal(elementCount([huge]), huge);
    for (const bad of [-1, 1.5, NaN, '1', 2 ** 53]) {
      assert.throws(() => elementCount([bad]), { code: BAD });
    }
  });

  it('refuses holes and overlaps, allows any order and empty tensors', async () => {
    const overlap = /overlap/;
    const hole = /hole/;
    const pair = (a, b) => `{"a":${tensor(...a)},"b":${tensor(...b)}}`;
    await refused(pair([0, 4], [3, 8]), 8, { message: overlap, where: 'b', got: 3 });
    await refused(pair([0, 4], [0, 4]), 4, { message: overlap });
    await refused(pair([0, 8], [2, 4]), 8, { message: overlap, where: 'b' });
    await refused(pair([2, 2], [0, 4]), 4, { message: overlap });
    await refused(pair([0, 4], [5, 8]), 8, { message: hole, where: 'b', got: 5 });
    await refused(pair([5, 8], [1, 5]), 8, { message: hole, where: 'b', got: 1 });
    await refused(`{"a":${tensor(1, 1)}}`, 1, { message: hole });
    await read(file(pair([4, 8], [0, 4]), 8));
    await read(file(`{"e":${tensor(4, 4)},"a":${tensor(0, 4)},"f":${tensor(0, 0)}}`, 4));
    await assert.rejects(read(file(pair([0, 4], [4, 9]), 8)), { code: 'HANSEL_ERR_TRUNCATED' });
    await assert.rejects(read(file('{}', 1)), { code: 'HANSEL_ERR_TRAILING' });
  });

  it('passes the signal on, and what the source throws', async () => {
    const { signal } = new AbortController();
    const seen = [];
    const bytes = file('{}');
    await readHeader({
      size: bytes.length,
      read: async (start, end, options) => {
        seen.push(options.signal);
        return bytes.slice(start, end);
      },
    }, { signal });
    assert.ok(seen.length > 0 && seen.every((s) => s === signal));
    const broken = { size: 10, read: async () => { throw new RangeError('mine'); } };
    await assert.rejects(readHeader(broken), { message: 'mine' });
  });
});

describe('safetensors: the strict JSON parser', function () {
  this.timeout(30000);
  const plain = (value) => {
    if (Array.isArray(value)) return value.map(plain);
    if (!(value instanceof Map)) return value;
    return Object.fromEntries([...value].map(([k, v]) => [k, plain(v)]));
  };
  const rules = { code: 'HANSEL_ERR_MANIFEST', maxDepth: 50 };

  it('accepts what JSON.parse accepts, and nothing else, for 20,000 mutated texts', () => {
    let seed = 20250101;
    const random = (n) => {
      seed = Math.imul(seed ^ seed >>> 15, 0x2c1b3c6d) + 0x9e3779b9 | 0;
      return ((seed ^ seed >>> 13) >>> 0) % n;
    };
    const base = '{"a":[1,-2.5e+3,true,false,null,"x\\n\\u0041\\\\"],"b":{"c":{},"d":[]},"e":0}';
    const alphabet = '{}[]:,"\\u01-+.eE \t\nxtrue';
    let accepted = 0;
    for (let round = 0; round < 20000; round++) {
      const chars = [...base];
      for (let edits = 1 + random(2); edits > 0; edits--) {
        chars.splice(random(chars.length), random(2), alphabet[random(alphabet.length)]);
      }
      const text = chars.join('');
      let want;
      try {
        want = JSON.parse(text);
      } catch {
        assert.throws(() => parseJson(text, rules), { code: 'HANSEL_ERR_MANIFEST' }, text);
        continue;
      }
      let got;
      try {
        got = parseJson(text, rules);
      } catch (error) {
        assert.match(error.message, /duplicate key|only spaces/, text);
        continue;
      }
      assert.deepEqual(plain(got), want, text);
      accepted++;
    }
    assert.ok(accepted > 1000, `only ${accepted} accepted`);
  });

  it('takes any number of blanks as one step', () => {
    const { includes } = String.prototype;
    let calls = 0;
    String.prototype.includes = function count(...args) {
      calls++;
      return includes.apply(this, args);
    };
    try {
      const blanks = ' \n\t\r'.repeat(1e5);
      assert.deepEqual(parseJson(`${blanks}{${blanks}"a"${blanks}:${blanks}1${blanks}}   `, rules),
        new Map([['a', 1]]));
      assert.throws(() => parseJson(`{${blanks}`, { ...rules, header: true }), { code: rules.code });
    } finally {
      String.prototype.includes = includes;
    }
    assert.ok(calls < 1000, `${calls} calls`);
  });

  it('limits depth and number size', () => {
    assert.deepEqual(parseJson('[[1]]', { ...rules, maxDepth: 2 }), [[1]]);
    assert.throws(() => parseJson('[[[1]]]', { ...rules, maxDepth: 2 }), { code: rules.code });
    assert.throws(() => parseJson('1e999', rules), { code: rules.code });
    assert.equal(parseJson('9007199254740991', { ...rules, header: true }), 2 ** 53 - 1);
  });
});

describe('safetensors: writing', function () {
  this.timeout(30000);
  const one = (shape, bytes, dtype = 'U8') => [['t', { dtype, shape, bytes }]];

  it('aligns, reserves and reads back', async () => {
    for (const options of [{}, { alignment: 1 }, { alignment: 64 }, { alignment: 256 },
      { reserve: 1000 }, { alignment: 24, reserve: 480 }]) {
      for (let n = 0; n < 20; n++) {
        const name = 'n'.repeat(n);
        const bytes = buildHeader([
          [name, { dtype: 'U8', shape: [n], bytes: n }],
          ['last', { dtype: 'BF16', shape: [2, 1], bytes: 4 }],
        ], new Map([['k', name]]), options);
        assert.equal(bytes.length % (options.alignment ?? 16), 0);
        assert.ok(bytes.length >= (options.reserve ?? 0));
        assert.ok(bytes.length < Math.max(options.reserve ?? 0, 300) + 256);
        const header = await read(Uint8Array.of(...bytes, ...new Uint8Array(n + 4)));
        assert.equal(header.dataStart, bytes.length);
        assert.equal(header.metadata.get('k'), name);
        assert.equal(header.tensors.get('last').start, bytes.length + n);
        assert.deepEqual(header.tensors.get('last').shape, [2, 1]);
      }
    }
  });

  it('writes exactly these bytes', () => {
    const text = (bytes) => new TextDecoder().decode(bytes.subarray(8));
    assert.equal(text(buildHeader([], [])), '{}      ');
    assert.equal(text(buildHeader(one([], 1), [['b', '"'], ['a', '']], { alignment: 1 })),
      '{"__metadata__":{"b":"\\"","a":""},'
      + '"t":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}');
  });

  it('refuses what no reader would accept', () => {
    const code = 'HANSEL_ERR_ARGUMENT';
    const u8 = { dtype: 'U8', shape: [], bytes: 1 };
    const throws = (details, ...args) => assert.throws(() => buildHeader(...args), details);
    throws({ code, where: 't', got: 3 }, one([4], 3));
    throws({ code: BAD, where: 't' }, one([4], 4, 'X8'));
    throws({ code: BAD, where: 't' }, one([-1], 1));
    throws({ code }, [['t', u8], ['t', u8]]);
    throws({ code }, [['__metadata__', u8]]);
    throws({ code }, [['\ud800', u8]]);
    throws({ code }, [], [['k', 1]]);
    throws({ code }, [], [['k', 'a'], ['k', 'b']]);
    throws({ code }, [], [], { alignment: 0 });
    throws({ code }, [], [], { reserve: 1.5 });
    throws({ code }, [], [], { reserve: 100_000_016 });
    const huge = { dtype: 'U8', shape: [2 ** 49], bytes: 2 ** 49 };
    throws({ code }, Array.from({ length: 16 }, (_, i) => [`${i}`, huge]));
  });
});
