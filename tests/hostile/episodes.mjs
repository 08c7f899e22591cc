// @ts-check
import { Values } from "./values.mjs";
import { Finding } from "./world.mjs";

/**
 * What an episode does: so many calls at least, counted by outcome; what came last is in the trace.
 * @typedef {(lib: import("./types.js").Library, values: Values,
 *   outcomes: import("./types.js").Outcomes, calls: number, trace: string[]) => Promise<void>} Episode
 */

/**
 * Makes an attack of episodes: each starts with a fresh world and values of its own, so that one can be
 * repeated alone. A finding names its seed, its episode and what came last.
 * @param {string} name
 * @param {number} length calls in an episode
 * @param {Episode} episode
 */
export function inEpisodes(name, length, episode) {
  /**
   * @param {import("./types.js").Library} lib
   * @param {{ seed: number, count: number }} options
   * @returns {Promise<import("./types.js").Report>}
   */
  return async (lib, { seed, count }) => {
    /** @type {Map<string, number>} */
    const outcomes = new Map();
    for (let done = 0, n = 0; done < count; done += length, n++) {
      /** @type {string[]} */
      const trace = [];
      const calls = Math.min(length, count - done);
      try {
        await episode(lib, new Values(`${name} ${seed} ${n}`), outcomes, calls, trace);
      } catch (error) {
        const what = error instanceof Error ? error.stack : String(error);
        const last = trace.slice(-8).join(", ");
        throw new Finding(`${name}, seed ${seed}, episode ${n}, after ${last}: ${what}`, {
          cause: error,
        });
      }
    }
    return { calls: count, outcomes };
  };
}
