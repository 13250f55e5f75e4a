/** A Llama as an ONNX model: standard operators only, inputs and outputs as transformers.js wants them. */
import { convert } from '../web/core/convert.js';
import { rotations } from '../web/llama/llama_wasm.js';
import { ELEMENT, encodeModel } from './onnx_proto.js';

/** @typedef {import('../web/llama/llama_config.js').LlamaConfig} LlamaConfig */
/** @typedef {import('./gguf_model.js').Tensors} Tensors */

const OPSET = 17;
const IR_VERSION = 8;
/** Where weights of the other file may begin; smaller ones than BIG stay in the model. Both in bytes. */
const ALIGNMENT = 4096;
const BIG = 1024;
/** Added to the scores of what may not be attended to. */
const FORBIDDEN = -1e9;

/** @param {number[]} values */
const int64 = (values) => new Uint8Array(BigInt64Array.from(values, BigInt).buffer);

/** Nodes and initializers, in the order of their making. */
class Graph {
  /** @type {object[]} */
  nodes = [];
  /** @type {object[]} */
  initializers = [];
  /** Of the other file. @type {Uint8Array[]} */
  parts = [];
  #length = 0;
  /** Constants by what they hold. @type {Map<string, string>} */
  #constants = new Map();

  /** @param {string} dtype of the weights @param {string | null} location name of the other file; null: none */
  constructor(dtype, location) {
    this.dtype = dtype;
    this.location = location;
  }

  /**
   * @param {string} type @param {string[]} inputs @param {Record<string, number | number[]>} [attributes] integers
   * @param {string} [output] a name @returns {string} the output's name
   */
  op(type, inputs, attributes = {}, output = `${type}_${this.nodes.length}`) {
    this.node(type, inputs, attributes, [output]);
    return output;
  }

  /** @param {string} type @param {string[]} inputs @param {Record<string, number | number[]>} attributes
   * @param {string[]} outputs */
  node(type, inputs, attributes, outputs) {
    this.nodes.push({
      name: `node_${this.nodes.length}`, op_type: type, input: inputs, output: outputs,
      attribute: Object.entries(attributes).map(([name, value]) => (
        Array.isArray(value) ? { name, ints: value, type: 7 } : { name, i: value, type: 2 })),
    });
  }

  /** @param {string} name @param {number[]} dims @param {number} element @param {Uint8Array} bytes */
  #initializer(name, dims, element, bytes) {
    const own = { name, dims, data_type: element };
    if (this.location === null || bytes.length < BIG) {
      this.initializers.push({ ...own, raw_data: bytes });
      return;
    }
    const padding = (ALIGNMENT - this.#length % ALIGNMENT) % ALIGNMENT;
    const offset = this.#length + padding;
    this.parts.push(new Uint8Array(padding), bytes);
    this.#length = offset + bytes.length;
    const where = { location: this.location, offset: String(offset), length: String(bytes.length) };
    this.initializers.push({
      ...own, data_location: 1, external_data: Object.entries(where).map(([key, value]) => ({ key, value })),
    });
  }

  /** Weights in the model's dtype, as F32. @param {string} name @param {number[]} dims @param {Float32Array} data */
  weights(name, dims, data) {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const { dtype } = this;
    this.#initializer(name, dims, ELEMENT[/** @type {'F16'} */ (dtype)], convert(bytes, 'F32', dtype));
    return dtype === 'F32' ? name : this.op('Cast', [name], { to: ELEMENT.F32 });
  }

  /** @param {number | number[]} values of int64, a number being a scalar */
  ints(values) {
    return this.#constant(`ints_${values}`, Array.isArray(values) ? [values.length] : [], ELEMENT.I64,
      int64([values].flat()));
  }

  /** @param {number} value of F32 */
  float(value) {
    return this.#constant(`float_${value}`, [], ELEMENT.F32, new Uint8Array(Float32Array.of(value).buffer));
  }

  /** @param {string} key @param {number[]} dims @param {number} element @param {Uint8Array} bytes */
  #constant(key, dims, element, bytes) {
    const name = this.#constants.get(`${key} ${dims}`) ?? `constant_${this.#constants.size}`;
    if (!this.#constants.has(`${key} ${dims}`)) {
      this.#constants.set(`${key} ${dims}`, name);
      this.#initializer(name, dims, element, bytes);
    }
    return name;
  }
}

/** @param {Float32Array} data of rows @param {number[]} shape @returns {Float32Array} of columns */
function transpose(data, [rows, columns]) {
  const found = new Float32Array(data.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) found[c * rows + r] = data[r * columns + c];
  return found;
}

/** @param {string} name @param {number} element @param {(number | string)[]} dims */
const value = (name, element, dims) => ({
  name, type: { tensor_type: { elem_type: element, shape: {
    dim: dims.map((size) => (typeof size === 'string' ? { dim_param: size } : { dim_value: size })),
  } } },
});

/** What layers have in common. @typedef {{graph: Graph, sizes: LlamaConfig, take: (name: string) => any}} Context */

/** @param {Context} context @param {string} x @param {string} name of the weights */
function norm({ graph, sizes, take }, x, name) {
  const mean = graph.op('ReduceMean', [graph.op('Mul', [x, x])], { axes: [-1] });
  const root = graph.op('Sqrt', [graph.op('Add', [mean, graph.float(sizes.epsilon)])]);
  const { shape, data } = take(name);
  return graph.op('Mul', [graph.op('Div', [x, root]), graph.weights(name, shape, data)]);
}

/** Vectors times a matrix, which is stored as exporters do: transposed. @param {Context} context @param {string} x
 * @param {string} name @param {string} [output] */
function product({ graph, take }, x, name, output) {
  const { shape, data } = take(name);
  const stored = graph.weights(name.replace(/weight$/, 'MatMul.weight'), shape.toReversed(), transpose(data, shape));
  return graph.op('MatMul', [x, stored], {}, output);
}

/** @param {Context} context @param {string} x heads @param {{cos: string, sin: string}} turns */
function rotate({ graph }, x, { cos, sin }) {
  const [first, second] = ['a', 'b'].map((half) => `Split_${graph.nodes.length}_${half}`);
  graph.node('Split', [x], { axis: -1 }, [first, second]);
  const turned = graph.op('Concat', [graph.op('Neg', [second]), first], { axis: -1 });
  return graph.op('Add', [graph.op('Mul', [x, cos]), graph.op('Mul', [turned, sin])]);
}

/** @param {Context} context @param {string} x @param {string} part a tensor's name to the point
 * @param {{cos: string, sin: string, bias: string}} shared @param {number} layer */
function attention(context, x, part, shared, layer) {
  const { graph, sizes: { heads, headDim, hidden } } = context;
  const split = (/** @type {string} */ role) => graph.op('Transpose', [graph.op('Reshape', [
    product(context, x, `${part}self_attn.${role}_proj.weight`), graph.ints([0, 0, heads, headDim])])],
  { perm: [0, 2, 1, 3] });
  const queries = rotate(context, split('q'), shared);
  const [keys, values] = [['key', rotate(context, split('k'), shared)], ['value', split('v')]].map(([kind, own]) => (
    graph.op('Concat', [`past_key_values.${layer}.${kind}`, own], { axis: 2 }, `present.${layer}.${kind}`)));
  const products = graph.op('MatMul', [queries, graph.op('Transpose', [keys], { perm: [0, 1, 3, 2] })]);
  const scores = graph.op('Mul', [products, graph.float(1 / Math.sqrt(headDim))]);
  const shares = graph.op('Softmax', [graph.op('Add', [scores, shared.bias])], { axis: -1 });
  const mixed = graph.op('Transpose', [graph.op('MatMul', [shares, values])], { perm: [0, 2, 1, 3] });
  return product(context, graph.op('Reshape', [mixed, graph.ints([0, 0, hidden])]), `${part}self_attn.o_proj.weight`);
}

/** @param {Context} context @param {string} x @param {string} part */
function feedForward(context, x, part) {
  const { graph } = context;
  const gates = product(context, x, `${part}mlp.gate_proj.weight`);
  const active = graph.op('Mul', [gates, graph.op('Sigmoid', [gates])]);
  const gated = graph.op('Mul', [active, product(context, x, `${part}mlp.up_proj.weight`)]);
  return product(context, gated, `${part}mlp.down_proj.weight`);
}

/** Cosines and sines of the positions, each twice, since halves of a head turn together. @param {Context} context */
function turns({ graph, sizes }) {
  const { positions, headDim } = sizes;
  const table = rotations(sizes, positions);
  const half = headDim / 2;
  const [cos, sin] = ['cos', 'sin'].map((kind, k) => {
    const rows = Float32Array.from({ length: positions * headDim }, (_, i) => (
      table[Math.floor(i / headDim) * headDim + k * half + i % half]));
    const found = graph.op('Gather', [graph.weights(`${kind}_cache`, [positions, headDim], rows), 'position_ids'],
      { axis: 0 });
    return graph.op('Unsqueeze', [found, graph.ints([1])]);
  });
  return { cos, sin };
}

/** What is added to scores: of each sequence, token and attended token. @param {Graph} graph */
function attentionBias(graph) {
  const [total, count] = ['attention_mask', 'input_ids'].map((name) => (
    graph.op('Gather', [graph.op('Shape', [name]), graph.ints(1)], { axis: 0 })));
  const keys = graph.op('Range', [graph.ints(0), total, graph.ints(1)]);
  const queries = graph.op('Range', [graph.op('Sub', [total, count]), total, graph.ints(1)]);
  const earlier = graph.op('LessOrEqual', [keys, graph.op('Unsqueeze', [queries, graph.ints([1])])]);
  const present = graph.op('Unsqueeze', [
    graph.op('Cast', ['attention_mask'], { to: ELEMENT.BOOL }), graph.ints([1, 2])]);
  return graph.op('Where', [graph.op('And', [earlier, present]), graph.float(0), graph.float(FORBIDDEN)]);
}

/**
 * @param {LlamaConfig} sizes @param {Tensors} checkpoint
 * @param {{dtype: 'F32' | 'F16', location: string | null}} options what weights are stored in; the name of the file
 *   that large ones go to, null for none
 * @returns {{model: Uint8Array, data: Uint8Array}} the files; data is empty without a location
 * @throws {RangeError} for models whose heads share keys, or without an output matrix
 */
export function onnxModel(sizes, checkpoint, { dtype, location }) {
  if (sizes.heads !== sizes.keyHeads || sizes.isTied) throw new RangeError('keys for every head, and an lm_head, only');
  const graph = new Graph(dtype, location);
  /** @type {Context} */
  const context = { graph, sizes, take: (name) => checkpoint.get(name) };
  const { heads, headDim, layers, vocab } = sizes;
  const embedding = context.take('model.embed_tokens.weight');
  let x = graph.op('Gather', [graph.weights('model.embed_tokens.weight', embedding.shape, embedding.data), 'input_ids'],
    { axis: 0 });
  const shared = { ...turns(context), bias: attentionBias(graph) };
  for (let layer = 0; layer < layers; layer++) {
    const part = `model.layers.${layer}.`;
    x = graph.op('Add', [x, attention(context, norm(context, x, `${part}input_layernorm.weight`), part, shared, layer)]);
    x = graph.op('Add', [x, feedForward(context, norm(context, x, `${part}post_attention_layernorm.weight`), part)]);
  }
  product(context, norm(context, x, 'model.norm.weight'), 'lm_head.weight', 'logits');

  const cache = (/** @type {string} */ prefix, /** @type {string} */ length) => (
    Array.from({ length: layers }, (_, layer) => ['key', 'value'].map((kind) => (
      value(`${prefix}.${layer}.${kind}`, ELEMENT.F32, ['batch_size', heads, length, headDim])))).flat());
  const model = encodeModel({
    ir_version: IR_VERSION, producer_name: 'hansel tests', opset_import: [{ domain: '', version: OPSET }],
    graph: {
      name: 'licence-llama', node: graph.nodes, initializer: graph.initializers,
      input: [
        value('input_ids', ELEMENT.I64, ['batch_size', 'sequence_length']),
        value('attention_mask', ELEMENT.I64, ['batch_size', 'total_sequence_length']),
        value('position_ids', ELEMENT.I64, ['batch_size', 'sequence_length']),
        ...cache('past_key_values', 'past_sequence_length'),
      ],
      output: [
        value('logits', ELEMENT.F32, ['batch_size', 'sequence_length', vocab]),
        ...cache('present', 'total_sequence_length'),
      ],
    },
  });
  return { model, data: new Uint8Array(Buffer.concat(graph.parts)) };
}
