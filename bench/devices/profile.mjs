// @ts-check
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Parts of a row's profile that are shown. */
const SHOWN = 8;

/**
 * What `node --cpu-prof` has written of a process's main thread, as far as it is used here. Times are in microseconds.
 * @typedef {object} Profile
 * @property {number} startTime
 * @property {{ id: number, callFrame: { functionName: string, url: string } }[]} nodes
 * @property {number[]} samples
 * @property {number[]} timeDeltas
 */

/**
 * Where the main thread of a process was between two moments of the monotonic clock: names with their shares, the largest first.
 * @param {string} folder of `--cpu-prof-dir`, after the process
 * @returns {(from: bigint, to: bigint) => string}
 */
export function profileIn(folder) {
  const name = readdirSync(folder).find((file) => /\.0\.\d+\.cpuprofile$/.test(file)) ?? "";
  /** @type {Profile} */
  const { startTime, nodes, samples, timeDeltas } = JSON.parse(
    readFileSync(join(folder, name), "utf8"),
  );
  // The engine's module has hundreds of functions; what is compiled of a guest has a few.
  const engines = new Set(
    nodes
      .filter(({ callFrame }) => /wasm-function\[\d{3}/.test(callFrame.functionName))
      .map(({ callFrame }) => callFrame.url),
  );
  const nameOf = (/** @type {Profile["nodes"][0]} */ { callFrame: { functionName, url } }) =>
    engines.has(url)
      ? "engine"
      : url.startsWith("wasm:")
        ? "guest's code, compiled"
        : url === "" || url.startsWith("node:")
          ? functionName
          : url.split("/").slice(-2).join("/");
  const names = new Map(nodes.map((node) => [node.id, nameOf(node)]));
  return (from, to) => {
    /** @type {Map<string, number>} */
    const shares = new Map();
    let at = startTime;
    let all = 0;
    for (const [i, id] of samples.entries()) {
      const delta = timeDeltas[i] ?? 0;
      at += delta;
      if (at < Number(from / 1000n) || at > Number(to / 1000n)) continue;
      const part = names.get(id) ?? "";
      shares.set(part, (shares.get(part) ?? 0) + delta);
      all += delta;
    }
    return [...shares]
      .sort(([, a], [, b]) => b - a)
      .slice(0, SHOWN)
      .map(([part, share]) => `${part} ${((100 * share) / all).toFixed(0)} %`)
      .join(", ");
  };
}
