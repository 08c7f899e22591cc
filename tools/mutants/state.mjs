// @ts-check
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { KEPT_ROUND, readKept, writeKept } from "./kept.mjs";
import { buildFolder } from "./toolbox.mjs";

/**
 * What earlier runs found out, so that a run can be stopped at any time and goes on where it was: those of this
 * machine, and what the project keeps of others.
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
 * @property {number} round which cases there were: the place in `rounds`
 *
 * @typedef {object} Measured a case that passes without mutants
 * @property {string} digest of its text and of what that imports
 * @property {number} cost milliseconds of processor time
 * @property {Record<string, number>} hits how often it comes by each mutant
 * @property {string} [failed] why it cannot be asked
 *
 * @typedef {{ digest: string, atLoad: string[], cases: Record<string, Measured> }} Baseline
 *
 * @typedef {Record<string, string>} Round digests of the cases that there were
 */

export class State {
  /** @type {Map<string, Outcome>} */
  outcomes = new Map();
  /** @type {Baseline} */
  baseline = { digest: "", atLoad: [], cases: {} };
  /** The first is what the project keeps. @type {Round[]} */
  rounds = [];
  #name;
  #build;
  #folder;

  /**
   * @param {string} folder
   * @param {{ key: string, file: string }[]} mutants
   * @param {string} build digest of the code that the cases try
   */
  constructor(folder, mutants, build) {
    this.#name = folder;
    this.#build = build;
    this.#folder = join(buildFolder, folder);
    mkdirSync(this.#folder, { recursive: true });
    const kept = readKept(folder);
    const files = new Map(mutants.map(({ key, file }) => [key, file]));
    for (const outcome of kept.outcomes) {
      const file = kept.files[files.get(outcome.key) ?? ""] ?? "";
      this.outcomes.set(outcome.key, { ...outcome, file });
    }
    for (const outcome of this.#lines("results.jsonl", asOutcome))
      this.outcomes.set(outcome.key, outcome);
    this.rounds = [kept.cases, ...this.#lines("rounds.jsonl", asRound)];
    const path = join(this.#folder, "baseline.json");
    if (existsSync(path)) this.baseline = JSON.parse(readFileSync(path, "utf8"));
  }

  /**
   * The complete lines of a file; the last one may have been cut off when a run was stopped.
   * @template T
   * @param {string} name
   * @param {(text: string) => T} parse
   */
  #lines(name, parse) {
    const path = join(this.#folder, name);
    if (!existsSync(path)) return [];
    return readFileSync(path, "utf8")
      .split("\n")
      .slice(0, -1)
      .flatMap((line) => {
        try {
          return [parse(line)];
        } catch {
          return [];
        }
      });
  }

  /**
   * Whether a mutant was noticed in this very code: by a case that is as it was, as far as that has been measured.
   * @param {string} key
   */
  isSettled(key) {
    const { status, build, by = "", round = KEPT_ROUND } = this.outcomes.get(key) ?? {};
    if (status !== "killed" || build !== this.#build) return false;
    const now = this.baseline.cases[by]?.digest;
    return now === undefined || now === this.rounds[round]?.[by];
  }

  /**
   * Whether a mutant need not be tried in a sample: settled, or not noticed by all that there was time for.
   * @param {string} key
   */
  isBelieved(key) {
    const outcome = this.outcomes.get(key);
    if (outcome === undefined) return false;
    return outcome.status === "killed" ? this.isSettled(key) : outcome.quick !== 0;
  }

  /** @param {Outcome} outcome */
  add(outcome) {
    this.outcomes.set(outcome.key, outcome);
    appendFileSync(join(this.#folder, "results.jsonl"), `${JSON.stringify(outcome)}\n`);
  }

  /** Begins a round with the cases that there are now. @returns {number} */
  round() {
    const cases = Object.fromEntries(
      Object.entries(this.baseline.cases)
        .map(([id, { digest }]) => [id, digest])
        .sort(),
    );
    const text = JSON.stringify(cases);
    const same = this.rounds.findIndex(
      (round, i) => i !== KEPT_ROUND && JSON.stringify(round) === text,
    );
    if (same >= 0) return same;
    this.rounds.push(cases);
    appendFileSync(join(this.#folder, "rounds.jsonl"), `${text}\n`);
    return this.rounds.length - 1;
  }

  saveBaseline() {
    writeFileSync(join(this.#folder, "baseline.json"), JSON.stringify(this.baseline));
  }

  /**
   * Keeps what is known in the project: of every mutant that there is, and for survivors, which cases all of them
   * were shown.
   * @param {{ key: string, file: string }[]} mutants
   * @param {Record<string, string>} files digests of the mutated files
   */
  keep(mutants, files) {
    const known = mutants.flatMap(({ key, file }) => {
      const outcome = this.outcomes.get(key);
      if (outcome === undefined) return [];
      // What survived in another text of its file is tried anew.
      return outcome.status === "survived" && outcome.file !== files[file] ? [] : [outcome];
    });
    const survived = known.filter(
      ({ status, quick }) => status === "survived" && quick === undefined,
    );
    const rounds = [...new Set(survived.map(({ round }) => round))].map((i) => this.rounds[i]);
    const [first = {}, ...others] = rounds;
    const shown = Object.entries(first).filter(([id, digest]) =>
      others.every((round) => round?.[id] === digest),
    );
    return writeKept(this.#name, { files, cases: Object.fromEntries(shown), outcomes: known });
  }

  /** @param {string} name @param {string} text */
  write(name, text) {
    writeFileSync(join(this.#folder, name), text);
    return join("build/mutants", this.#folder.slice(buildFolder.length + 1), name);
  }
}

const asOutcome = (/** @type {string} */ line) => /** @type {Outcome} */ (JSON.parse(line));
const asRound = (/** @type {string} */ line) => /** @type {Round} */ (JSON.parse(line));
