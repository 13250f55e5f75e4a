/** A file's own name, as the names of those beside it are written. */

/**
 * @param {string} where a source's name: a path, or a URL without a query
 * @returns {string}
 */
export function ownName(where) {
  const name = where.replace(/^.*[/\\]/s, '');
  if (!/^https?:/i.test(where)) return name;
  try {
    return decodeURIComponent(name);
  } catch {
    return name; // of bytes that are no UTF-8
  }
}
