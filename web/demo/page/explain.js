/** Errors as sentences: what happened, and what to do about it. */
import { bytes } from './dom.js';

/** What each code means to a person with a file. @type {Record<string, string>} */
const SENTENCES = {
  HANSEL_ERR_SAFETENSORS: 'This is not a safetensors file. Choose one that ends in .safetensors, as '
    + 'Hugging Face offers them; other formats have to be converted first.',
  HANSEL_ERR_TRUNCATED: 'The file is cut short: it ends before its own header says it does. Its '
    + 'download was probably interrupted; download it again.',
  HANSEL_ERR_CHECKSUM: 'The file is damaged: its bytes do not have the checksum that was stored with '
    + 'them. Download it again, or code it again.',
  HANSEL_ERR_CORRUPT: 'The file is damaged: a stream of coded weights does not end where it must. '
    + 'Download it again, or code it again.',
  HANSEL_ERR_MANIFEST: 'The file says of itself what its bytes do not confirm. It was damaged or edited; '
    + 'download it again, or code it again.',
  HANSEL_ERR_INDEX: 'The index of this checkpoint does not match its shards. Check that all of its '
    + 'files are there and belong together.',
  HANSEL_ERR_VERSION: 'The file was made by a later version of Hansel than this page knows. Reload the '
    + 'page, or use a newer one.',
  HANSEL_ERR_CHANGED: 'The file changed while it was being read, so the parts already here and the rest '
    + 'no longer belong together. Open it again to start over with the new one.',
  HANSEL_ERR_NOT_FINITE: 'A weight is NaN or infinite, which no grid holds. Choose “without loss”, or '
    + 'repair the model.',
  HANSEL_ERR_MEMORY: 'There is not enough memory for this. Close other tabs, or take a smaller file.',
  HANSEL_ERR_LOST: 'The GPU was lost: its driver was reset, or it ran out of memory. What lay on it is '
    + 'gone, the file is not. Press “Load again”.',
  HANSEL_ERR_ADAPTER: 'This browser has no such GPU interface here, or it is switched off. The others '
    + 'do the same work; WebAssembly always does.',
  HANSEL_ERR_LIMIT: 'This tensor is larger than this GPU allows. WebAssembly can decode it.',
  HANSEL_ERR_SHADER: 'The GPU’s driver did not accept a shader. Another back end does the same work; '
    + 'please report this with the details below.',
  HANSEL_ERR_GPU: 'The GPU reported an error. Another back end does the same work; please report this '
    + 'with the details below.',
  HANSEL_ERR_TEXT: 'The beginning has a character that this model does not know. It was trained on plain English '
    + 'text: letters, digits and ASCII punctuation.',
  HANSEL_ERR_CONFIG: 'This model is of a kind that the panel does not run: it knows Llama-family '
    + 'models only.',
};

/** A damaged head has many names. */
for (const code of ['TRAILING', 'MAGIC', 'RESERVED', 'HEADER', 'TABLE', 'DIRECTORY']) {
  SENTENCES[`HANSEL_ERR_${code}`] = SENTENCES.HANSEL_ERR_CHECKSUM
    .replace('its bytes do not have the checksum that was stored with them', 'a coded tensor’s head makes no sense');
}

/** Whether a server answers at all, if not to this page. @param {string} url */
const answers = (url) => fetch(url, { mode: 'no-cors', method: 'HEAD', cache: 'no-store' })
  .then(() => true, () => false);

/**
 * @param {any} error @param {string | Blob | null} [source] what was being read
 * @returns {Promise<{sentence: string, detail: string}>} detail: the code and the library's message
 */
export async function explain(error, source = null) {
  const { code = '', message = String(error) } = error ?? {};
  const detail = code ? `${code}: ${message}` : message;
  const url = typeof source === 'string' ? new URL(source, location.href) : null;
  const say = (/** @type {string} */ sentence) => ({ sentence, detail });
  if (code === 'HANSEL_ERR_HTTP' && url) return say(explainAnswer(error, url));
  if (code === 'HANSEL_ERR_SOURCE' && url) {
    if (!/^(https?|blob|data):$/.test(url.protocol)) {
      return say('This is not a web address that a page can read. Give one that begins with https://.');
    }
    if (navigator.onLine === false) return say('This computer is offline. Connect it, and try again.');
    if (url.origin !== location.origin && await answers(url.href)) {
      return say(`${url.host} does not let other pages read this file: it sends no CORS header `
        + '(Access-Control-Allow-Origin). Download the file, and drop it here.');
    }
    return say(url.origin === location.origin
      ? 'The server did not answer, or the connection broke. Check that it still runs, and try again.'
      : `${url.host} did not answer this page. Either it cannot be reached, or it does not let other pages `
        + 'read its files (CORS). Check the address, or download the file and drop it here.');
  }
  if (code === 'HANSEL_ERR_SOURCE' || code === 'HANSEL_ERR_HTTP') {
    return say('The file cannot be read. Check that it is still there, and choose it again.');
  }
  if (code === 'HANSEL_ERR_CHANGED' && source instanceof Blob) {
    return say('The file was modified or removed after it was chosen. Choose it again.');
  }
  return say(SENTENCES[code] ?? 'Something went wrong that this page does not know. The details below '
    + 'say what; reloading the page starts over.');
}

/** @param {any} error of an answer of no use @param {URL} url */
function explainAnswer({ got, expected, message }, url) {
  const status = Number(got);
  if (status === 404 || status === 410) {
    return `There is no such file on ${url.host} (status ${status}). Check the address.`;
  }
  if (status === 401 || status === 403) {
    return `${url.host} does not give this file to everyone (status ${status}). Download it where you are `
      + 'signed in, and drop it here.';
  }
  if (status >= 400) {
    return `${url.host} answered with an error (status ${status}). Try again later.`;
  }
  if (/Content-Range/.test(message)) {
    return `${url.host} answers in parts, but does not let this page see which: it must list Content-Range `
      + 'in Access-Control-Expose-Headers. Download the file, and drop it here.';
  }
  if (status === 200 && Number(expected) === 206) {
    return `${url.host} does not send files in parts (no Range requests), and this file is larger than ${
      bytes(512 * 2 ** 20)} or of unknown length. Download it, and drop it here.`;
  }
  return `${url.host} answered in a way that this page cannot use. Download the file, and drop it here.`;
}
