/** Options that a call does not know are mistakes: { bitz: 4 }. */

/**
 * @param {object} rest what is left of the options when those that are known are taken out
 * @param {string} call of web/core/unknown_option.js, which knows its options
 * @throws {import('./errors.js').HanselError} HANSEL_ERR_ARGUMENT if anything is
 */
export async function refuse(rest, call) {
  for (const name in rest) throw (await import('./unknown_option.js')).unknownOption(name, call);
}
