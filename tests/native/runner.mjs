/** Runs the cases of a family on the host and in the engine, and collects what differs. */
import { IMAGE_BYTES } from "./areas.mjs";
import { compare, expectedImage } from "./compare.mjs";
import { PATHS } from "./engine.mjs";
import { baseImage, makeCase } from "./generate.mjs";
import { VECTOR_TIMEOUT } from "./protocol.mjs";

/** Cases sent to the host at once. */
const BATCH = 1000;

export class Runner {
  /**
   * @param {import("./host.mjs").Host} host
   * @param {{ run(testCase: object, base: Uint8Array): object[] }} engine
   * @param {string} seed
   */
  constructor(host, engine, seed) {
    this.host = host;
    this.engine = engine;
    this.seed = seed;
    this.base = baseImage(seed);
    this.scratch = Buffer.alloc(IMAGE_BYTES);
  }

  /** Differences of one case, by path: [{ path, diffs }], empty when all agree. */
  judge(testCase, expected) {
    if (expected === undefined) return [];
    const image = expectedImage(testCase, expected, this.base, this.scratch);
    const failures = [];
    this.engine.run(testCase, this.base).forEach((got, i) => {
      const diffs = compare(testCase, expected, image, got);
      if (diffs.length > 0) failures.push({ path: PATHS[i], diffs });
    });
    return failures;
  }

  /** Runs one case on both sides. */
  runOne(testCase) {
    const [expected] = this.host.run(this.base, [testCase]);
    return { expected, failures: this.judge(testCase, expected) };
  }

  /**
   * Runs cases `first` to `first + count - 1` of a family.
   * @param {string} family
   * @param {import("./types.js").Row[]} rows
   * @param {number} first
   * @param {number} count
   * @returns {{ cases: number, failed: import("./types.js").Failure[], undecided: number, faults: number }}
   *   `undecided`: did not end, or ended the harness; `faults`: ended by something else than INT3
   */
  runFamily(family, rows, first, count) {
    /** @type {ReturnType<Runner["runFamily"]>} */
    const result = { cases: 0, failed: [], undecided: 0, faults: 0 };
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
        const failures = this.judge(testCase, answer);
        result.cases++;
        if (failures.length > 0) result.failed.push({ testCase, failures });
      });
    }
    return result;
  }
}
