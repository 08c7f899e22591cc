// @ts-check
import { appendFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./files.mjs";

/**
 * What a run of vitest found; names are `FILE > GROUP > TEST`.
 * @typedef {object} Report
 * @property {string[]} tests all of them
 * @property {string[]} failed
 * @property {string[]} skipped
 * @property {string[]} secondTries those that passed only when they were tried again
 * @property {number} broken files that did not load, and errors outside of tests
 */

/** Where reports are kept. */
export const reports = join(root, "build/report");
const notes = join(reports, "second-tries.txt");
const remarks = join(reports, "remarks.txt");

/**
 * For what is tried again because it measures time or fetches something: the closing lines of
 * tools/check/run.mjs show it.
 * @param {string} what was tried again, and why, in one line
 */
export function noteSecondTry(what) {
  mkdirSync(reports, { recursive: true });
  appendFileSync(notes, `${what.replaceAll("\n", " ")}\n`);
}

/** What {@link noteSecondTry} was told, one each. */
export function notedSecondTries() {
  if (!existsSync(notes)) return [];
  return readFileSync(notes, "utf8").trim().split("\n");
}

/**
 * For what fails nothing but everybody has to hear of: the closing lines show it as it is.
 * @param {readonly string[]} lines
 */
export function noteRemarks(lines) {
  mkdirSync(reports, { recursive: true });
  for (const line of lines) appendFileSync(remarks, `${line}\n`);
}

/** What {@link noteRemarks} was told. */
export function notedRemarks() {
  return existsSync(remarks) ? readFileSync(remarks, "utf8").trim().split("\n") : [];
}

/**
 * The line that says how several runs went together.
 * @param {Report[]} runs
 */
export function closingLine(runs) {
  const sum = (/** @type {(run: Report) => number} */ count) =>
    runs.reduce((total, run) => total + count(run), 0);
  const failed = sum((run) => run.failed.length + run.broken);
  const skipped = sum((run) => run.skipped.length);
  const passed = sum((run) => run.tests.length - run.failed.length - run.skipped.length);
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}
