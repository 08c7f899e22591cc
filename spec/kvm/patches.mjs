// @ts-check
/**
 * Recordings of a newer release: only the lines that are other than the default release answered. A part begins with
 * `== NAME`; a line of it is `NUMBER: TEXT`, which takes the place of that line (from 1 on) of the recording.
 * tests/oracle/release.mjs writes them.
 */

/** @typedef {Map<number, string>} Patch lines by number, from 1 on */

/**
 * The parts of a file, by name.
 * @param {string} text
 * @returns {Map<string, Patch>}
 */
export function readPatches(text) {
  /** @type {Map<string, Patch>} */
  const parts = new Map();
  /** @type {Patch} */
  let part = new Map();
  for (const line of text.split("\n").slice(0, -1)) {
    if (line.startsWith("#")) continue;
    if (line.startsWith("== ")) {
      part = new Map();
      parts.set(line.slice(3), part);
    } else {
      const colon = line.indexOf(": ");
      part.set(Number(line.slice(0, colon)), line.slice(colon + 2));
    }
  }
  return parts;
}

/**
 * What the newer release answered.
 * @param {readonly string[]} lines
 * @param {Patch | undefined} patch
 */
export function patched(lines, patch) {
  if (patch === undefined) return [...lines];
  for (const number of patch.keys())
    if (!(number >= 1 && number <= lines.length)) throw new Error(`no line ${number}`);
  return lines.map((line, i) => patch.get(i + 1) ?? line);
}

/**
 * One part of a file, empty when nothing differs.
 * @param {string} name
 * @param {readonly string[]} before
 * @param {readonly string[]} now
 */
export function patchText(name, before, now) {
  if (before.length !== now.length)
    throw new Error(`${name}: ${now.length} lines, not ${before.length}`);
  const lines = now.flatMap((line, i) => (line === before[i] ? [] : [`${i + 1}: ${line}\n`]));
  return lines.length === 0 ? "" : `== ${name}\n${lines.join("")}`;
}
