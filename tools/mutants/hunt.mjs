// @ts-check
import { relative } from "node:path";
import { root } from "../check/files.mjs";
import { LOADING, Worker } from "./crew.mjs";
import { draw, every } from "./draw.mjs";
import { build } from "./instrument.mjs";
import { covering, toAsk, within } from "./order.mjs";
import { report } from "./report.mjs";
import { State } from "./state.mjs";

/**
 * @typedef {import("./instrument.mjs").Mutant} Mutant
 * @typedef {import("./crew.mjs").Measured} Measured
 * @typedef {import("./order.mjs").Ask} Ask
 *
 * @typedef {object} Options
 * @property {number} [sample] how many mutants, drawn by the seed
 * @property {number} seed
 * @property {number} deadline when it is enough
 * @property {string} files a part of the paths of files
 * @property {RegExp} cases names of cases that may be asked
 * @property {number} quick milliseconds of cases
 * @property {boolean} isNew what was noticed once is not shown again
 * @property {boolean} keep what is found is kept in the project
 */

/** Cases that are measured between two looks at the time. */
const CASES_AT_ONCE = 20;
/** Milliseconds between two words about where it is. */
const WORDS_MS = 15_000;
/** Cases that fail without mutants, above which something is wrong. */
const FAIL_TOO_MANY = 10;
/** What is measured first, when there is no time for all: unit tests cost least, random scenarios notice least. */
const PRECEDENCE = [/^(src|tests)\//, /^scenario (topics|edges|reduced|mutants)\//, /^/];
const precedence = (/** @type {string} */ id) => PRECEDENCE.findIndex((names) => names.test(id));
/** Parts of the time: for what was noticed before, and of the rest, for measuring the cases that others are shown. */
const AGAIN = 0.75;
const MEASURING = 0.6;
const part = (/** @type {number} */ from, /** @type {number} */ to, /** @type {number} */ share) =>
  from + share * (to - from);

/** Tries the mutants of a folder. */
class Hunt {
  #built;
  #state;
  #worker;
  #say;
  /** Mutants and their places in the order of the code. @type {Map<Mutant, number>} */
  #places;
  /** @type {Set<string>} */
  #atLoad = new Set();
  #fails = 0;

  /**
   * @param {string} folder
   * @param {import("./instrument.mjs").Build} built
   * @param {State} state
   * @param {(text: string) => void} say
   */
  constructor(folder, built, state, say) {
    this.#built = built;
    this.#state = state;
    this.#worker = new Worker(folder, built);
    this.#say = say;
    this.#places = new Map(built.mutants.map((mutant, i) => [mutant, i]));
  }

  /** Loads the code, and forgets what was measured of another text of it. @param {RegExp} wanted */
  async start(wanted) {
    const [worker, state] = [this.#worker, this.#state];
    const { digest } = this.#built;
    await worker.start();
    worker.cases = worker.cases.filter(([id]) => wanted.test(id));
    this.#atLoad = new Set(worker.atLoad);
    const old = state.baseline.digest === digest ? state.baseline.cases : {};
    /** @type {typeof old} */
    const cases = {};
    for (const [id, text] of worker.cases) if (old[id]?.digest === text) cases[id] = old[id];
    state.baseline = { digest, atLoad: worker.atLoad, cases };
  }

  stop() {
    this.#worker.stop();
  }

  /**
   * Measures cases that have not been.
   * @param {ReadonlySet<string>} [only]
   * @param {number} deadline those that were not measured then are not asked this time
   */
  async measure(deadline, only) {
    const { cases } = this.#state.baseline;
    const missing = this.#worker.cases
      .map(([id]) => id)
      .filter((id) => cases[id] === undefined && only?.has(id) !== false)
      .sort((a, b) => precedence(a) - precedence(b));
    this.#say(`${missing.length} of ${this.#worker.cases.length} cases to be measured`);
    const saved = every(WORDS_MS);
    const note = (/** @type {Measured} */ { id, ...measured }) => {
      cases[id] = measured;
      if (measured.failed !== undefined && this.#fails++ < FAIL_TOO_MANY)
        this.#say(`fails without mutants, is not asked: ${id}: ${measured.failed}`);
      if (saved()) this.#state.saveBaseline();
    };
    while (missing.length > 0 && Date.now() < deadline) {
      const batch = missing.splice(0, CASES_AT_ONCE);
      await this.#worker.measure(batch, note);
      missing.unshift(...batch.filter((id) => cases[id] === undefined));
    }
    if (missing.length > 0) this.#say(`no time to measure ${missing.length} cases`);
    this.#state.saveBaseline();
    if (this.#fails > FAIL_TOO_MANY)
      throw new Error(`mutants: ${this.#fails} cases fail without mutants`);
  }

  /**
   * Shows mutants to the cases that noticed them the last time. What such a case does not notice any more counts as
   * survived, until there is time for others.
   * @param {Mutant[]} mutants
   * @param {number} deadline
   * @returns {Promise<number>} how many of the mutants, the first ones, there was time for
   */
  async again(mutants, deadline) {
    const known = new Set([LOADING, ...this.#worker.cases.map(([id]) => id)]);
    const noticed = mutants.filter(
      ({ key }) =>
        this.#state.outcomes.get(key)?.status === "killed" && !this.#state.isSettled(key),
    );
    const by = (/** @type {Mutant} */ { key }) => this.#state.outcomes.get(key)?.by ?? "";
    await this.measure(deadline, new Set(noticed.map(by)));
    const round = this.#state.round();
    const words = every(WORDS_MS);
    let lost = 0;
    let reached = mutants.length;
    for (const [i, mutant] of noticed.entries()) {
      if (Date.now() > deadline) {
        reached = mutants.indexOf(mutant);
        break;
      }
      const name = by(mutant);
      const place = this.#places.get(mutant) ?? 0;
      const ask = covering(this.#state, this.#built.mutants, place).filter(({ id }) => id === name);
      // A case that was not measured yet is no case that is gone.
      if (ask.length === 0 && known.has(name) && this.#state.baseline.cases[name] === undefined)
        if (name !== LOADING) continue;
      const answer = await this.#try(mutant, ask, round, { lost: true });
      if (answer.status !== "killed") lost++;
      if (words()) this.#say(`${i + 1} of ${noticed.length} shown to what noticed them`);
    }
    this.#say(`${noticed.length} shown to what noticed them, ${lost} not noticed again`);
    return reached;
  }

  /**
   * Shows mutants to the cases that come by them.
   * @param {Mutant[]} mutants
   * @param {number} deadline
   * @param {number} quick
   */
  async search(mutants, deadline, quick) {
    const [state, { digest, digests, mutants: all }] = [this.#state, this.#built];
    const round = state.round();
    const words = every(WORDS_MS);
    for (const [i, mutant] of mutants.entries()) {
      if (Date.now() > deadline) break;
      const place = this.#places.get(mutant) ?? 0;
      const ask = toAsk(state, all, place, digest, digests[mutant.file] ?? "", quick);
      if (ask === undefined) continue;
      const some = within(ask, quick);
      await this.#try(mutant, some, round, some.length < ask.length ? { quick } : {});
      if (words()) this.#say(`${i + 1} of ${mutants.length}`);
    }
  }

  /**
   * @param {Mutant} mutant
   * @param {Ask[]} ask
   * @param {number} round
   * @param {{ lost?: boolean, quick?: number }} some only some cases are asked: what they do not notice is not settled
   */
  async #try(mutant, ask, round, { lost = false, quick }) {
    const { id, key, file: path } = mutant;
    const file = this.#built.digests[path] ?? "";
    const old = this.#state.outcomes.get(key);
    const reload = this.#atLoad.has(id);
    // To load the code anew takes longer than most cases: first those that come by the mutant later, too; in a quick run
    // no others.
    const later = reload ? ask.filter(({ hits }) => hits > 0) : ask;
    let answer =
      later.length === 0
        ? { status: /** @type {const} */ ("survived"), asked: 0 }
        : await this.#worker.tryMutant({ mutant: id, ask: later, reload: false });
    const isQuick = quick !== undefined && later.length > 0;
    if (reload && answer.status === "survived" && !isQuick)
      answer = await this.#worker.tryMutant({ mutant: id, ask, reload });
    const before = old?.status === "survived" && old.file === file ? old.asked : 0;
    const asked = lost ? 1 : answer.asked + before;
    const limit = lost ? 0 : quick;
    const part = answer.status === "survived" && limit !== undefined ? { quick: limit } : {};
    this.#state.add({
      key,
      build: this.#built.digest,
      file,
      round,
      ...answer,
      asked,
      ...part,
    });
    return answer;
  }
}

/**
 * Mutants that nothing has noticed so far, untried ones first.
 * @param {Mutant[]} mutants
 * @param {State} state
 */
function unnoticed(mutants, state) {
  const left = mutants.filter(({ key }) => state.outcomes.get(key)?.status !== "killed");
  const isTried = (/** @type {Mutant} */ { key }) => state.outcomes.has(key);
  return [...left.filter((each) => !isTried(each)), ...left.filter(isTried)];
}

/**
 * @param {string} folder
 * @param {Options} options
 * @returns {Promise<{ good: boolean, text: string }>}
 */
export async function tryFolder(folder, options) {
  const { sample, seed, deadline, files, cases, quick, keep, isNew } = options;
  const built = await build(folder);
  const { mutants: all, ignored, digest } = built;
  const start = Date.now();
  const say = (/** @type {string} */ text) =>
    console.log(`  ${folder}: ${text} (${Math.round((Date.now() - start) / 1000)} s)`);
  const state = new State(folder, all, digest);
  const chosen = all.filter(({ file }) => file.includes(files));
  const drawn = sample === undefined ? chosen : draw(chosen, sample, seed);
  const mutants = isNew ? unnoticed(drawn, state) : drawn;
  say(`${all.length} mutants (and ${ignored} of texts of messages, which do not count)`);
  const hunt = new Hunt(folder, built, state, say);
  let seen = mutants;
  try {
    await hunt.start(cases);
    const reached = await hunt.again(mutants, part(start, deadline, AGAIN));
    // Those behind are no part of the sample: what survived once counts, what was noticed once does not.
    if (sample !== undefined) seen = mutants.slice(0, reached);
    // In a sample, what survived once is believed: it is in nobody's favour.
    const rest = sample === undefined ? mutants : seen.filter(({ key }) => !state.isBelieved(key));
    if (rest.length > 0 && Date.now() < deadline) {
      await hunt.measure(part(Date.now(), deadline, MEASURING));
      await hunt.search(rest, deadline, quick);
    }
  } finally {
    hunt.stop();
  }
  say("ends");
  if (keep) say(`kept in ${relative(root, state.keep(all, built.digests))}`);
  return report(folder, seen, all, state, sample !== undefined);
}
