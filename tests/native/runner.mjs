// @ts-check
/** Runs the cases of a family on the host and in the engine, and collects what differs. */
import { IMAGE_BYTES } from "./areas.mjs";
import { compare, expectedImage } from "./compare.mjs";
import { PATHS } from "./engine.mjs";
import { baseImage, makeCase } from "./generate.mjs";
import { VECTOR_TIMEOUT } from "./protocol.mjs";
import { reasonByVendor } from "./vendor.mjs";

/** Cases sent to the host at once. */
const BATCH = 1000;

export class Runner {
  /**
   * @param {import("./host.mjs").Host} host `processor` says which differences do not count
   * @param {{ run(testCase: import("./types.js").TestCase, base: Uint8Array): import("./types.js").EngineAnswer[] }} engine
   * @param {string} seed
   */
  constructor(host, engine, seed) {
    this.host = host;
    this.engine = engine;
    this.seed = seed;
    this.base = baseImage(seed);
    this.scratch = Buffer.alloc(IMAGE_BYTES);
  }

  /**
   * Differences of one case, by path: [{ path, diffs }], empty when all agree. `why`: the reason for which
   * differences do not count.
   * @param {import("./types.js").TestCase} testCase
   * @param {import("./types.js").HostAnswer | undefined} expected
   */
  judge(testCase, expected) {
    /**
     * @type {{ path: string | undefined; diffs: import("./types.js").Difference[]; }[]}
     */
    const failures = [];
    let why;
    if (expected === undefined) return { failures, why };
    const image = expectedImage(testCase, expected, this.base, this.scratch);
    this.engine.run(testCase, this.base).forEach((got, i) => {
      const diffs = compare(testCase, expected, image, got);
      if (diffs.length === 0) return;
      const reason = reasonByVendor(this.host.processor, testCase, expected, got, diffs);
      if (reason === undefined) failures.push({ path: PATHS[i], diffs });
      else why = reason;
    });
    return { failures, why };
  }

  /**
   * Runs one case on both sides.
   * @param {import("./types.js").TestCase} testCase
   */
  runOne(testCase) {
    const [expected] = this.host.run(this.base, [testCase]);
    return { expected, failures: this.judge(testCase, expected).failures };
  }

  /**
   * Runs cases `first` to `first + count - 1` of a family.
   * @param {string} family
   * @param {import("./types.js").Row[]} rows
   * @param {number} first
   * @param {number} count
   * @returns {{ cases: number, failed: import("./types.js").Failure[], undecided: number, faults: number, tolerated: Map<string, number> }}
   *   `undecided`: did not end, or ended the harness; `faults`: ended by something else than INT3;
   *   `tolerated`: cases that differ as the vendors do, by reason
   */
  runFamily(family, rows, first, count) {
    /** @type {ReturnType<Runner["runFamily"]>} */
    const result = { cases: 0, failed: [], undecided: 0, faults: 0, tolerated: new Map() };
    for (let at = first; at < first + count; at += BATCH) {
      const cases = [];
      for (let index = at; index < Math.min(at + BATCH, first + count); index++) {
        const testCase = makeCase({
          seed: this.seed,
          family,
          index,
          rows,
          modes: this.host.modes,
        });
        if (testCase !== undefined) cases.push(testCase);
      }
      const expected = this.host.run(this.base, cases);
      cases.forEach((testCase, i) => {
        const answer = expected[i];
        if (answer === undefined || answer.vector === VECTOR_TIMEOUT) result.undecided++;
        else if (answer.vector !== 3) result.faults++;
        const { failures, why } = this.judge(testCase, answer);
        result.cases++;
        if (failures.length > 0) result.failed.push({ testCase, failures });
        else if (why !== undefined) result.tolerated.set(why, (result.tolerated.get(why) ?? 0) + 1);
      });
    }
    return result;
  }
}
