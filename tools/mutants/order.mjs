// @ts-check

/**
 * @typedef {import("./instrument.mjs").Mutant} Mutant
 * @typedef {import("./state.mjs").State} State
 * @typedef {import("./state.mjs").Measured} Measured
 * @typedef {import("./worker.mjs").Ask & { cost: number }} Ask
 */

/** How much less a case in the mutated file's folder counts as costing, and a scenario that has a subject. */
const BESIDE = 4;
const CURATED = 8;
const isCurated = (/** @type {string} */ name) =>
  /^scenario (topics|edges|reduced|mutants)\//.test(name);
/** The same for a case of the test that has the mutated file's name. */
const SUBJECT = 40;
/** The same for a case that comes by no other mutants: what is left of it says how much of a case is about this one. */
const SHARE = 200;
/** The same for a case that noticed the mutant next to this one; further away it is less. */
const NEIGHBOUR = 50;
/** Mutants before and after one that are its neighbours: they are in the order of the code. */
const NEAR = 30;

/** @type {WeakMap<Measured, number>} */
const totals = new WeakMap();
/** How often a case comes by all mutants together. @param {Measured} each */
function total(each) {
  const known = totals.get(each) ?? Object.values(each.hits).reduce((all, n) => all + n, 0);
  totals.set(each, known);
  return known;
}

/**
 * What noticed the neighbours of a mutant, and how near they are: 1 is the next one.
 * @param {State} state
 * @param {Mutant[]} all in the order of the code
 * @param {number} at
 */
function neighbours(state, all, at) {
  /** @type {Map<string, number>} */
  const near = new Map();
  for (let i = Math.max(0, at - NEAR); i <= at + NEAR; i++) {
    const other = all[i];
    if (i === at || other?.file !== all[at]?.file) continue;
    const { status, by } = state.outcomes.get(other?.key ?? "") ?? {};
    if (status !== "killed" || by === undefined) continue;
    near.set(by, (near.get(by) ?? 0) + 1 / Math.abs(i - at));
  }
  return near;
}

/**
 * The cases that come by a mutant: first the one that noticed the last time, then those that cost little and noticed
 * its neighbours, are unit tests in the folder of the mutated file, or scenarios with a subject. What code comes by
 * while it is loaded may show anywhere.
 * @param {State} state
 * @param {Mutant[]} all in the order of the code
 * @param {number} at
 * @returns {Ask[]}
 */
export function covering(state, all, at) {
  const { id, key, file } = /** @type {Mutant} */ (all[at]);
  const hint = state.outcomes.get(key)?.by;
  const everywhere = state.baseline.atLoad.includes(id);
  const beside = file.slice(0, file.lastIndexOf("/") + 1);
  const near = neighbours(state, all, at);
  const subject = `${file.replace(/\.ts$/, "")}.test.ts > `;
  const rank = (/** @type {string} */ name, /** @type {Measured} */ each) => {
    if (name === hint) return -1;
    const kind = name.startsWith(subject)
      ? SUBJECT
      : name.startsWith(beside)
        ? BESIDE
        : isCurated(name)
          ? CURATED
          : 1;
    const share = (each.hits[id] ?? 0) / Math.max(total(each), 1);
    return each.cost / (kind + SHARE * share + NEIGHBOUR * (near.get(name) ?? 0));
  };
  return Object.entries(state.baseline.cases)
    .filter(
      ([, { hits, failed }]) => failed === undefined && (everywhere || hits[id] !== undefined),
    )
    .map(([name, each]) => ({ name, each, rank: rank(name, each) }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ name, each }) => ({
      id: name,
      hits: each.hits[id] ?? 0,
      total: total(each),
      cost: each.cost,
    }));
}

/**
 * The cases that may say something new about a mutant; undefined when none can.
 * @param {State} state
 * @param {Mutant[]} all in the order of the code
 * @param {number} at
 * @param {string} build
 * @param {string} file digest
 * @param {number} quick milliseconds
 */
export function toAsk(state, all, at, build, file, quick) {
  const old = state.outcomes.get(all[at]?.key ?? "");
  const ask = covering(state, all, at);
  if (old === undefined || old.file !== file) return ask;
  const known = state.rounds[old.round] ?? {};
  const isKnown = (/** @type {string} */ id) => known[id] === state.baseline.cases[id]?.digest;
  if (old.status === "killed")
    return old.build === build && isKnown(old.by ?? "") ? undefined : ask;
  // What spins is believed, as what survived is: neither is in anybody's favour.
  if (old.status === "timeout") return isKnown(old.by ?? "") ? undefined : ask;
  // A survivor of the same file is shown to new cases only, unless there was no time for all.
  const news = (old.quick ?? Infinity) < quick ? ask : ask.filter(({ id }) => !isKnown(id));
  return news.length === 0 ? undefined : news;
}

/** What a case takes beside its own milliseconds: messages, and turns of the loop. */
const AROUND_MS = 0.5;

/**
 * The first of some cases that fit into a time together, and one at least.
 * @template {{ cost: number }} T
 * @param {T[]} ask
 * @param {number} ms
 */
export function within(ask, ms) {
  let all = 0;
  return ask.filter(({ cost }) => {
    if (all > 0 && all + cost + AROUND_MS > ms) return false;
    all += cost + AROUND_MS;
    return true;
  });
}
