/** What eval.js found, as Markdown and as a curve. */

/** @typedef {import('./eval.js').Results} Results */
/** @typedef {import('./eval.js').Result} Result */

/** @param {Results} results @returns {string} */
export function evalText({ count, windows, weights, results, seconds }) {
  const [{ loss: base }] = results;
  const rows = results.map(({ what, bits, bytes, loss, divergence, family }) => [
    what, bits.toFixed(2), (bytes / 1e6).toFixed(2), loss.toFixed(4),
    family === 'F32' ? '' : `+${(loss - base).toFixed(4)}`.replace('+-', '-'),
    family === 'F32' ? '' : divergence.toFixed(5)]);
  const heading = ['weights', 'bits/weight', 'MB', 'loss, nats/character', 'more than F32',
    'KL divergence from F32'];
  const lines = [heading, heading.map((_, i) => (i ? '---:' : '---')), ...rows];
  return [
    `${count} characters in ${windows} windows of 128; ${weights} weights in matrices.`, '',
    ...lines.map((line) => `| ${line.join(' | ')} |`), '',
    '![KL divergence against bits per weight](eval.svg)',
    ...!seconds ? [] : ['', `Encoding a matrix of 4096 x 4096 at 4 bits, on one thread: ${seconds.each.toFixed(2)} s with \`--each\`, ${
      seconds.rule.toFixed(2)} s by the rule, ${seconds.feedback.toFixed(1)} s with feedback, its Hessian included.`],
  ].join('\n');
}

const WIDTH = 720;
const HEIGHT = 440;
const LEFT = 78;
const RIGHT = 20;
const TOP = 48;
const BOTTOM = 56;
const COLOURS = { samples: '#15803d', Hansel: '#c2410c', each: '#78716c', groups: '#1d4ed8' };

/**
 * KL divergence (logarithmic) against bits per weight, on white, so that it is read in dark pages, too.
 * @param {Results} results @returns {string} SVG
 */
export function curve({ results }) {
  // Feedback by two texts is hard to tell apart.
  const points = results.filter(({ family }) => family !== 'F32' && family !== 'text');
  const most = Math.ceil(Math.max(...points.map(({ bits }) => bits)));
  const least = Math.floor(Math.min(...points.map(({ bits }) => bits)) * 2) / 2;
  const high = Math.ceil(Math.log10(Math.max(...points.map(({ divergence }) => divergence))));
  const low = Math.floor(Math.log10(Math.min(...points.map(({ divergence }) => divergence))));
  const x = (/** @type {number} */ bits) => LEFT + (bits - least) / (most - least) * (WIDTH - LEFT - RIGHT);
  const y = (/** @type {number} */ kl) => TOP + (high - Math.log10(kl)) / (high - low) * (HEIGHT - TOP - BOTTOM);
  const text = (/** @type {number} */ px, /** @type {number} */ py, /** @type {string} */ words,
    /** @type {string} */ more = '') => `<text x="${px.toFixed(1)}" y="${py.toFixed(1)}" ${more}>${words}</text>`;
  const out = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" font-family="system-ui, sans-serif" font-size="13" fill="#222">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    text(LEFT, 24, 'What coding costs a language model', 'font-size="16" font-weight="600"'),
  ];
  for (let bits = Math.ceil(least); bits <= most; bits++) {
    out.push(`<path d="M${x(bits).toFixed(1)} ${TOP}V${HEIGHT - BOTTOM}" stroke="#e5e5e5"/>`,
      text(x(bits), HEIGHT - BOTTOM + 20, String(bits), 'text-anchor="middle"'));
  }
  for (let power = low; power <= high; power++) {
    out.push(`<path d="M${LEFT} ${y(10 ** power).toFixed(1)}H${WIDTH - RIGHT}" stroke="#e5e5e5"/>`,
      text(LEFT - 8, y(10 ** power) + 4, power >= -3 ? String(10 ** power) : `1e${power}`,
        'text-anchor="end"'));
  }
  out.push(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, 'bits per weight, everything included',
    'text-anchor="middle"'),
  `<text transform="translate(18 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">KL divergence from F32, nats</text>`);
  const line = (/** @type {'Hansel' | 'each' | 'samples'} */ of) => {
    const own = points.filter(({ family }) => family === of).sort((a, b) => a.bits - b.bits);
    out.push(`<path d="M${own.map(({ bits, divergence }) => `${x(bits).toFixed(1)} ${y(divergence).toFixed(1)}`)
      .join('L')}" fill="none" stroke="${COLOURS[of]}" stroke-width="2"/>`);
    return own[Math.floor(own.length / 3)];
  };
  const [alike, middle, fed] = [line('each'), line('Hansel'), line('samples')];
  for (const [i, { family, bits, divergence, what }] of points.entries()) {
    const colour = COLOURS[/** @type {'Hansel'} */ (family)];
    out.push(family !== 'groups'
      ? `<circle cx="${x(bits).toFixed(1)}" cy="${y(divergence).toFixed(1)}" r="4" fill="${colour}"/>`
      : `<rect x="${(x(bits) - 5).toFixed(1)}" y="${(y(divergence) - 5).toFixed(1)}" width="10" height="10" fill="${colour}"/>`);
    if (family === 'groups') {
      // Neighbours' labels keep clear of each other.
      out.push(text(x(bits) + (bits > most - 1 ? -10 : 10), y(divergence) + (i % 2 ? 5 : -7), what,
        `fill="${colour}"${bits > most - 1 ? ' text-anchor="end"' : ''}`));
    }
  }
  out.push(text(x(fed.bits) - 12, y(fed.divergence) + 16, 'Hansel, error feedback', `fill="${COLOURS.samples}" text-anchor="end"`),
    text(x(middle.bits) + 8, y(middle.divergence) + 4, 'Hansel', `fill="${COLOURS.Hansel}"`),
    text(x(alike.bits) + 10, y(alike.divergence) - 8, 'Hansel, all tensors the same bits', `fill="${COLOURS.each}"`));
  return `${[...out, '</svg>'].join('\n')}\n`;
}
