/**
 * Every code a HanselError can carry. The first block is src/hansel.h's
 * hansel_status, index for index (FORMAT.md section 8); the rest is JavaScript's.
 */
export const STATUS = /** @type {const} */ ([
  'HANSEL_OK',
  'HANSEL_ERR_ARGUMENT',
  'HANSEL_ERR_TRUNCATED',
  'HANSEL_ERR_TRAILING',
  'HANSEL_ERR_MAGIC',
  'HANSEL_ERR_VERSION',
  'HANSEL_ERR_RESERVED',
  'HANSEL_ERR_HEADER',
  'HANSEL_ERR_CHECKSUM',
  'HANSEL_ERR_TABLE',
  'HANSEL_ERR_DIRECTORY',
  'HANSEL_ERR_CORRUPT',
  'HANSEL_ERR_NOT_FINITE',
  'HANSEL_ERR_RANGE',
  'HANSEL_ERR_CAPACITY',
  'HANSEL_ERR_HESSIAN',
]);

/** Codes that only JavaScript raises, with their meaning. */
export const CODES = /* @__PURE__ */ Object.freeze({
  HANSEL_ERR_SAFETENSORS: 'not a valid safetensors file',
  HANSEL_ERR_MANIFEST: 'the manifest or directory is missing, malformed or contradicts the file',
  HANSEL_ERR_INDEX: 'a sharded checkpoint\'s index is malformed or contradicts its shards',
  HANSEL_ERR_ONNX: 'an ONNX model that is malformed or contradicts itself',
  HANSEL_ERR_GGUF: 'a GGUF file that is malformed or contradicts itself',
  HANSEL_ERR_PLAN: 'a plan, or what it is made of, that is malformed or of another model',
  HANSEL_ERR_TENSOR: 'no tensor of that name',
  HANSEL_ERR_DTYPE: 'an operation that this dtype does not have',
  HANSEL_ERR_SOURCE: 'the source cannot be opened or read',
  HANSEL_ERR_HTTP: 'a server answered with an error, or not as Range requests need',
  HANSEL_ERR_CHANGED: 'the source changed while it was being read',
  HANSEL_ERR_ABORTED: 'stopped by the caller\'s AbortSignal',
  HANSEL_ERR_EXISTS: 'the output exists; --force overwrites it',
  HANSEL_ERR_USAGE: 'wrong usage of the command line',
  HANSEL_ERR_MEMORY: 'not enough memory',
  HANSEL_ERR_WORKER: 'a worker thread died or was ended',
  HANSEL_ERR_ADAPTER: 'no such GPU interface here, or it gave no device',
  HANSEL_ERR_LOST: 'the GPU was lost; load again',
  HANSEL_ERR_SHADER: 'a shader was not accepted',
  HANSEL_ERR_LIMIT: 'more than a GPU, or --max-size, allows',
  HANSEL_ERR_GPU: 'the GPU reported an error',
  HANSEL_ERR_DESTROYED: 'the matrix was destroyed',
  HANSEL_ERR_CONFIG: 'a model configuration that is malformed, not supported, or contradicts its file',
  HANSEL_ERR_TEXT: 'text that the model has no tokens for',
  HANSEL_ERR_MISMATCH: 'a file does not hold what it is compared with',
});

/** The one error type of this package. */
export class HanselError extends Error {
  /** Where in the tensor or head, if a number says it. @type {number | undefined} */
  position;

  /**
   * @param {string} code a name from STATUS or CODES; stable, meant for programs
   * @param {string} message for people: what is wrong
   * @param {{expected?: unknown, got?: unknown, where?: string, cause?: unknown}} [details]
   *   expected and got are appended to the message; where names the tensor or file
   */
  constructor(code, message, { expected, got, where, cause } = {}) {
    const tail = [
      expected === undefined ? '' : `expected ${expected}`,
      got === undefined ? '' : `got ${got}`,
    ].filter(Boolean).join(', ');
    super(`${where ? `${where}: ` : ''}${message}${tail ? ` (${tail})` : ''}`,
      cause === undefined ? undefined : { cause });
    this.name = 'HanselError';
    this.code = code;
    this.expected = expected;
    this.got = got;
    this.where = where;
  }
}

/** Names the tensor in whatever goes wrong with it. @param {unknown} error @param {string} name */
export function locate(error, name) {
  if (error instanceof HanselError && error.where === undefined) {
    error.where = name;
    error.message = `${name}: ${error.message}`;
  }
  return error;
}

/**
 * Throws HANSEL_ERR_ABORTED when the signal has fired.
 * @param {AbortSignal | undefined} signal
 */
export function checkAborted(signal) {
  if (signal?.aborted) {
    throw new HanselError('HANSEL_ERR_ABORTED', 'stopped by its AbortSignal', {
      cause: signal.reason,
    });
  }
}
