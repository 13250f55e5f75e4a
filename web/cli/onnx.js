/** Where the tensors of an ONNX model are, in its file and in those beside it. Node only. */
import { HanselError } from '../core/errors.js';
import { byteSize, elementCount } from '../file/safetensors.js';
import { ownName } from './own_name.js';

/** What Protocol Buffers allow. */
const MOST = 2 ** 31 - 1;
/** Subgraphs in subgraphs. */
const DEEPEST = 64;

/** Data types by ONNX's numbers. Source: onnx.proto, TensorProto.DataType. @type {Record<number, string>} */
const DTYPES = {
  1: 'F32', 2: 'U8', 3: 'I8', 4: 'U16', 5: 'I16', 6: 'I32', 7: 'I64', 9: 'BOOL', 10: 'F16', 11: 'F64', 12: 'U32',
  13: 'U64', 14: 'C64', 16: 'BF16', 17: 'F8_E4M3', 18: 'F8_E4M3FNUZ', 19: 'F8_E5M2', 20: 'F8_E5M2FNUZ', 24: 'F8_E8M0',
};
/** ... of which a byte holds several. @type {Record<number, number>} */
const PACKED = { 21: 2, 22: 2, 23: 2, 25: 4, 26: 4 };

/** Operators that multiply by weights, or look them up; and those that only hand them on. */
const USES = /^(Q?Gemm|Einsum|LSTM|GRU|RNN)$|^Gather|MatMul|Conv|Attention|Embed|MoE/;
/** What is looked up by position, such as the waves of rotary embeddings. */
const NO_WEIGHTS = /rotary|rope|(^|[._/])(cos|sin)(_?cached?)?$|(cos|sin)_cache/i;
const HANDS_ON = /^(Cast|CastLike|Transpose|Identity|Reshape|Squeeze|Unsqueeze|DequantizeLinear)$/;

/** @typedef {import('../file/source.js').Source} Source */
/** @typedef {import('../encode/carrier_inputs.js').Found} Found */
/** @typedef {import('../encode/carrier_inputs.js').FoundFile} FoundFile */
/** @typedef {any} Reader protobuf.js's */
/**
 * @typedef {object} Tensor
 * @property {string} name @property {number} type @property {number[]} dims
 * @property {[start: number, end: number]} [raw] its bytes in the model
 * @property {Map<string, string> | null} external where they are otherwise
 */
/** @typedef {{op: string, inputs: string[], outputs: string[]}} Node */

/** @param {string} message @param {{expected?: unknown, got?: unknown, where?: string, cause?: unknown}} [details] */
const bad = (message, details) => new HanselError('HANSEL_ERR_ONNX', message, details);

/** Reads messages of a model, for what is in them of tensors and nodes (onnx.proto). */
class Walker {
  /** @type {Tensor[]} */
  tensors = [];
  /** @type {Node[]} */
  nodes = [];
  hasGraph = false;

  /** @param {Reader} reader */
  constructor(reader) {
    this.reader = reader;
  }

  /**
   * @param {number} end of the message
   * @param {Record<number, (end: number) => void>} fields that are messages or bytes, by number: each reads to its end
   * @param {(field: number, wire: number) => boolean} [other] reads a field of another kind, or says that it did not
   */
  message(end, fields, other) {
    const { reader } = this;
    while (reader.pos < end) {
      const tag = reader.tag();
      const [field, wire] = [tag >>> 3, tag & 7];
      if (wire === 2 && fields[field]) {
        const own = reader.size() + reader.pos;
        if (own > end) throw new RangeError('index out of range');
        fields[field](own);
        reader.pos = own;
      } else if (!other?.(field, wire)) {
        reader.skipType(wire, 0, field);
      }
    }
    if (reader.pos !== end) throw bad('a field beyond its message', { expected: end, got: reader.pos });
  }

  /** @param {number} end @returns {string} */
  text(end) {
    const { reader } = this;
    const bytes = reader.buf.subarray(reader.pos, end);
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch (cause) {
      throw bad('a name is not UTF-8', { cause });
    }
  }

  /** ModelProto. @param {number} end */
  model(end) {
    this.message(end, {
      7: (own) => {
        this.hasGraph = true;
        this.graph(own, 0);
      },
      20: (own) => this.message(own, { 1: (graph) => this.graph(graph, 1), 2: (graph) => this.graph(graph, 1) }),
      25: (own) => this.message(own, { 7: (node) => this.node(node, 1) }),
    });
  }

  /** GraphProto. @param {number} end @param {number} depth */
  graph(end, depth) {
    if (depth > DEEPEST) throw bad('graphs in graphs', { expected: `at most ${DEEPEST} deep` });
    this.message(end, {
      1: (own) => this.node(own, depth),
      5: (own) => this.tensor(own),
      15: (own) => this.sparse(own),
    });
  }

  /** SparseTensorProto. @param {number} end */
  sparse(end) {
    this.message(end, { 1: (own) => this.tensor(own), 2: (own) => this.tensor(own) });
  }

  /** NodeProto, and its AttributeProto. @param {number} end @param {number} depth */
  node(end, depth) {
    const node = { op: '', inputs: /** @type {string[]} */ ([]), outputs: /** @type {string[]} */ ([]) };
    const graph = (/** @type {number} */ own) => this.graph(own, depth + 1);
    const tensor = (/** @type {number} */ own) => this.tensor(own, node);
    const sparse = (/** @type {number} */ own) => this.sparse(own);
    const attribute = { 5: tensor, 6: graph, 10: tensor, 11: graph, 22: sparse, 23: sparse };
    this.message(end, {
      1: (own) => void node.inputs.push(this.text(own)),
      2: (own) => void node.outputs.push(this.text(own)),
      4: (own) => { node.op = this.text(own); },
      5: (own) => this.message(own, attribute),
    });
    this.nodes.push(node);
  }

  /** TensorProto. @param {number} end
   * @param {Node} [node] of which it is an attribute: a constant's output has its name */
  tensor(end, node) {
    const { reader } = this;
    /** @type {Tensor} */
    const tensor = { name: '', type: 0, dims: [], external: null };
    /** @type {Map<string, string>} */
    const external = new Map();
    let isExternal = false;
    const dim = () => {
      const n = Number(String(reader.int64()));
      if (!Number.isSafeInteger(n) || n < 0) throw bad('an impossible dimension', { got: n, where: tensor.name });
      tensor.dims.push(n);
    };
    this.message(end, {
      1: (own) => { while (reader.pos < own) dim(); },
      4: (own) => { tensor.raw ??= [reader.pos, own]; },
      8: (own) => { tensor.name = this.text(own); },
      9: (own) => { tensor.raw = [reader.pos, own]; },
      13: (own) => {
        const entry = ['', ''];
        this.message(own, {
          1: (key) => { entry[0] = this.text(key); }, 2: (value) => { entry[1] = this.text(value); },
        });
        external.set(entry[0], entry[1]);
      },
    }, (field, wire) => {
      if (wire !== 0 || ![1, 2, 14].includes(field)) return false;
      if (field === 1) dim();
      else if (field === 2) tensor.type = reader.int32();
      else isExternal = reader.int32() === 1;
      return true;
    });
    if (isExternal) tensor.external = external;
    if (!tensor.name && node?.op === 'Constant') tensor.name = node.outputs[0] ?? '';
    this.tensors.push(tensor);
  }
}

/** Names of what is multiplied by, or looked up in. @param {Node[]} nodes in the order that they run */
function weightsOf(nodes) {
  const names = new Set();
  for (const { op, inputs, outputs } of [...nodes].reverse()) {
    if (!USES.test(op) && !(HANDS_ON.test(op) && outputs.some((name) => names.has(name)))) continue;
    for (const name of inputs) names.add(name);
  }
  return names;
}

/** @param {Tensor} tensor
 * @returns {{dtype: string, shape: number[], bytes: number | null}} bytes: null where any will do */
function typeOf({ name, type, dims }) {
  try {
    const dtype = DTYPES[type];
    if (dtype) return { dtype, shape: dims, bytes: byteSize(dtype, dims, name) };
    const bytes = PACKED[type] ? Math.ceil(elementCount(dims, name) / PACKED[type]) : null;
    return { dtype: 'U8', shape: [bytes ?? 0], bytes };
  } catch (cause) {
    throw bad('an impossible shape', { got: `[${dims}]`, where: name, cause });
  }
}

/** @param {Tensor} tensor @param {string} key @returns {number | undefined} */
function numberOf({ name, external }, key) {
  const text = external?.get(key);
  if (text === undefined) return undefined;
  const n = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(n)) {
    throw bad(`an impossible ${key} of external data`, { expected: 'a whole number below 2^53', got: text, where: name });
  }
  return n;
}

/**
 * @param {Source} source the model; its bytes are held
 * @param {AbortSignal} [signal]
 * @returns {Promise<FoundFile[]>} the model, and the files that it names, open; those are to be closed
 * @throws {HanselError} HANSEL_ERR_ONNX, _TRUNCATED; HANSEL_ERR_INDEX for files that are not beside it; what sources
 *   throw
 */
export async function findInOnnx(source, signal) {
  const { protobuf } = await import('../../dist/parsers.js');
  const { name: where, size } = source;
  if (size > MOST) throw bad('too large for ONNX', { expected: `at most ${MOST} bytes`, got: size, where });
  const bytes = await source.read(0, size, { signal });
  const walker = new Walker(protobuf.Reader.create(bytes));
  try {
    walker.model(size);
  } catch (cause) {
    if (cause instanceof HanselError) throw cause;
    const { message } = /** @type {Error} */ (cause);
    if (/out of range/.test(message)) {
      throw new HanselError('HANSEL_ERR_TRUNCATED', 'the model is cut off', { got: `${size} bytes`, where, cause });
    }
    throw bad('not an ONNX model that can be read', { got: message, where, cause });
  }
  if (!walker.hasGraph) throw bad('no graph in this model', { where });
  const weights = weightsOf(walker.nodes);
  /** By location. @type {Map<string, Found[]>} */
  const beside = new Map();
  /** @type {Found[]} */
  const inside = [];
  for (const tensor of walker.tensors) {
    const { name, raw, external } = tensor;
    const { dtype, shape, bytes: expected } = typeOf(tensor);
    const isExact = !weights.has(name) || NO_WEIGHTS.test(name);
    if (external) {
      const location = (external.get('location') ?? '').replace(/^(\.\/)+/, '');
      const start = numberOf(tensor, 'offset') ?? 0;
      const length = numberOf(tensor, 'length') ?? expected ?? 0;
      if (expected !== null && length !== expected) throw bad('external data does not fit the shape', {
        expected: `${expected} bytes for [${tensor.dims}]`, got: length, where: name,
      });
      const found = beside.get(location) ?? [];
      beside.set(location, found);
      found.push({ name, dtype, shape: expected === null ? [length] : shape, start, end: start + length, isExact });
    } else if (raw) {
      const [start, end] = raw;
      if (expected !== null && end - start !== expected) throw bad('raw data does not fit the shape', {
        expected: `${expected} bytes for [${tensor.dims}]`, got: end - start, where: name,
      });
      inside.push({ name, dtype, shape: expected === null ? [end - start] : shape, start, end, isExact });
    }
  }
  const own = ownName(where);
  /** @type {FoundFile[]} */
  const files = [{ format: 'onnx', code: 'HANSEL_ERR_ONNX', source, tensors: inside, beside: [...beside.keys()] }];
  try {
    for (const [location, tensors] of beside) {
      if (location === own) throw bad('external data in the model itself', { expected: 'another file', got: location, where });
      files.push({ format: 'onnxdata', code: 'HANSEL_ERR_ONNX', source: await source.resolve(location, { signal }), tensors });
    }
  } catch (error) {
    for (const file of files.slice(1)) await file.source.close();
    throw error;
  }
  return files;
}
