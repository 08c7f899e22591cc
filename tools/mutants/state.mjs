// @ts-check
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildFolder } from "./toolbox.mjs";

/**
 * What earlier runs found out, so that a run can be stopped at any time and goes on where it was.
 *
 * @typedef {"killed" | "timeout" | "survived"} Status
 * @typedef {object} Outcome
 * @property {string} key the mutant's
 * @property {string} build digest of the code that the cases try
 * @property {string} file digest of the mutated file
 * @property {Status} status
 * @property {string} [by] the case that noticed
 * @property {string} [why] what that case said
 * @property {number} asked how many cases were asked
 * @property {number} [quick] a survivor was shown cases of so many milliseconds only, not all
 * @property {number} round which cases there were: the line of rounds.jsonl
 *
 * @typedef {object} Measured a case that passes without mutants
 * @property {string} digest of its text and of what that imports
 * @property {number} cost milliseconds of processor time
 * @property {Record<string, number>} hits how often it comes by each mutant
 * @property {string} [failed] why it cannot be asked
 *
 * @typedef {{ digest: string, atLoad: string[], cases: Record<string, Measured> }} Baseline
 */

export class State {
  /** @type {Map<string, Outcome>} */
  outcomes = new Map();
  /** @type {Baseline} */
  baseline = { digest: "", atLoad: [], cases: {} };
  /** Digests of the cases that there were in each round. @type {Record<string, string>[]} */
  rounds = [];
  #folder;

  /** @param {string} folder */
  constructor(folder) {
    this.#folder = join(buildFolder, folder);
    mkdirSync(this.#folder, { recursive: true });
    for (const outcome of this.#lines("results.jsonl")) this.outcomes.set(outcome.key, outcome);
    this.rounds = this.#lines("rounds.jsonl");
    const path = join(this.#folder, "baseline.json");
    if (existsSync(path)) this.baseline = JSON.parse(readFileSync(path, "utf8"));
  }

  /**
   * The complete lines of a file; the last one may have been cut off when a run was stopped.
   * @param {string} name
   * @returns {any[]}
   */
  #lines(name) {
    const path = join(this.#folder, name);
    if (!existsSync(path)) return [];
    return readFileSync(path, "utf8")
      .split("\n")
      .slice(0, -1)
      .flatMap((line) => {
        try {
          return [JSON.parse(line)];
        } catch {
          return [];
        }
      });
  }

  /** @param {Outcome} outcome */
  add(outcome) {
    this.outcomes.set(outcome.key, outcome);
    appendFileSync(join(this.#folder, "results.jsonl"), `${JSON.stringify(outcome)}\n`);
  }

  /** Begins a round with the cases that there are now. @returns {number} */
  round() {
    const cases = Object.fromEntries(
      Object.entries(this.baseline.cases).map(([id, { digest }]) => [id, digest]),
    );
    const text = JSON.stringify(cases);
    const same = this.rounds.findIndex((round) => JSON.stringify(round) === text);
    if (same >= 0) return same;
    this.rounds.push(cases);
    appendFileSync(join(this.#folder, "rounds.jsonl"), `${text}\n`);
    return this.rounds.length - 1;
  }

  saveBaseline() {
    writeFileSync(join(this.#folder, "baseline.json"), JSON.stringify(this.baseline));
  }

  /** @param {string} name @param {string} text */
  write(name, text) {
    writeFileSync(join(this.#folder, name), text);
    return join("build/mutants", this.#folder.slice(buildFolder.length + 1), name);
  }
}
