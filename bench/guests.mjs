// @ts-check
import { spawn } from "node:child_process";
import { once } from "node:events";

/** What a run of a guest showed. @typedef {{ seconds: number, output: string, messages: string }} Run */

/** A guest that has not come so far by then has hung. */
const LIMIT_MS = 300_000;

/**
 * Runs a program and measures the time until its output has the marker.
 * @param {string} program
 * @param {string[]} args
 * @param {string} marker
 * @param {boolean} kill whether to end it then; otherwise it has to end by itself
 * @param {number} [limitMs] a guest that has not come so far by then has hung
 * @returns {Promise<Run>} seconds from the start to the marker
 */
export async function runToMarker(program, args, marker, kill, limitMs = LIMIT_MS) {
  const started = performance.now();
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let messages = "";
  let seconds = Number.NaN;
  child.stderr.setEncoding("utf8").on("data", (text) => {
    messages += text;
  });
  child.stdout.setEncoding("utf8").on("data", (text) => {
    output += text;
    if (!Number.isNaN(seconds) || !output.includes(marker)) return;
    seconds = (performance.now() - started) / 1000;
    if (kill) child.kill("SIGKILL");
  });
  const limit = setTimeout(() => child.kill("SIGKILL"), limitMs);
  const [status] = await once(child, "close");
  clearTimeout(limit);
  if (Number.isNaN(seconds)) {
    throw new Error(
      `${program} ended with ${status} before the marker:\n${output.slice(-800)}${messages}`,
    );
  }
  return { seconds, output, messages };
}

/**
 * The middle one of several numbers.
 * @param {number[]} values
 */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

/**
 * What several ratios come to.
 * @param {number[]} ratios
 */
export function geometricMean(ratios) {
  return Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length);
}

/**
 * Rows of text in columns, the first to the left, the others to the right.
 * @param {string[][]} rows
 */
export function table(rows) {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const cell = (/** @type {string} */ text, /** @type {number} */ i) =>
    i === 0 ? text.padEnd(widths[i] ?? 0) : text.padStart(widths[i] ?? 0);
  return rows.map((row) => row.map(cell).join("  ").trimEnd()).join("\n");
}
