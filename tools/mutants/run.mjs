// @ts-check
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { Worker } from "./crew.mjs";
import { folders } from "./folders.mjs";
import { build } from "./instrument.mjs";
import { report } from "./report.mjs";
import { State } from "./state.mjs";

const usage = `usage: npm run mutants -- [FOLDER...] [--sample N] [--seed N] [--seconds N] [--files TEXT]
  FOLDER       ${Object.keys(folders).join(", ")} (all of them)
  --sample N   only N mutants of each folder, drawn by the seed; fails below the folder's floor
  --seed N     repeats a sample (or the variable SEED)
  --seconds N  stops after that time; the next run goes on. Folders run side by side
  --quick MS   shows a mutant cases of MS milliseconds together; what none of them notices counts as survived,
               and is shown the others by a later run with more time
  --files TEXT only mutants in files whose path holds TEXT
  --cases RE   only cases whose name matches`;

/** Cases that are measured between two looks at the time. */
const CASES_AT_ONCE = 20;

/**
 * A generator of numbers from 0 to below 1: xorshift of 32 bits.
 * @param {number} seed
 */
function random(seed) {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/**
 * @template T
 * @param {T[]} list
 * @param {number} count
 * @param {number} seed
 */
function draw(list, count, seed) {
  const next = random(seed);
  const rest = [...list];
  /** @type {T[]} */
  const drawn = [];
  while (drawn.length < count && rest.length > 0)
    drawn.push(...rest.splice(Math.floor(next() * rest.length), 1));
  return drawn;
}

/**
 * True at most once in that time.
 * @param {number} ms
 */
function every(ms) {
  let last = Date.now();
  return () => {
    if (Date.now() - last < ms) return false;
    last = Date.now();
    return true;
  };
}

/**
 * Measures the cases that are new or whose code changed.
 * @param {State} state
 * @param {Worker} worker
 * @param {string} digest
 * @param {RegExp} wanted names of cases that may be asked
 * @param {number} deadline when it is enough: cases that were not measured are not asked this time
 * @param {(text: string) => void} say
 */
async function measure(state, worker, digest, wanted, deadline, say) {
  await worker.start();
  worker.cases = worker.cases.filter(([id]) => wanted.test(id));
  const old = state.baseline.digest === digest ? state.baseline.cases : {};
  /** @type {State["baseline"]["cases"]} */
  const cases = {};
  for (const [id, text] of worker.cases) if (old[id]?.digest === text) cases[id] = old[id];
  const missing = worker.cases.map(([id]) => id).filter((id) => cases[id] === undefined);
  say(`${worker.cases.length} cases, ${missing.length} of them to be measured`);
  state.baseline = { digest, atLoad: worker.atLoad, cases };
  const saved = every(15_000);
  /** @type {string[]} */
  const refused = [];
  const note = (/** @type {any} */ { measured, digest, cost, hits, failed }) => {
    cases[measured] = { digest, cost, hits, ...(failed === undefined ? {} : { failed }) };
    if (failed !== undefined) refused.push(`${measured}: ${failed}`);
    if (saved()) state.saveBaseline();
  };
  // Unit tests first: they cost least and notice most.
  missing.sort((a, b) => Number(a.startsWith("scenario ")) - Number(b.startsWith("scenario ")));
  while (missing.length > 0 && Date.now() < deadline) {
    const batch = missing.splice(0, CASES_AT_ONCE);
    await worker.measure(batch, note);
    missing.unshift(...batch.filter((id) => cases[id] === undefined));
  }
  if (missing.length > 0) say(`no time to measure ${missing.length} cases`);
  state.saveBaseline();
  for (const text of refused.slice(0, 10)) say(`fails without mutants, is not asked: ${text}`);
  if (refused.length > 10) throw new Error(`mutants: ${refused.length} cases fail without mutants`);
}

/** @param {Record<string, number>} hits */
const sum = (hits) => Object.values(hits).reduce((all, times) => all + times, 0);

/** How much less a case in the mutated file's folder counts as costing. */
const BESIDE = 4;

/**
 * The cases that come by a mutant: first the one that noticed the last time, then the cheapest ones, and unit tests
 * in the folder of the mutated file rather than others. What code comes by while it is loaded may show anywhere.
 * @param {State} state
 * @param {import("./instrument.mjs").Mutant} mutant
 * @param {string | undefined} hint
 */
function covering(state, { id, file }, hint) {
  const everywhere = state.baseline.atLoad.includes(id);
  const beside = file.slice(0, file.lastIndexOf("/") + 1);
  const rank = (/** @type {string} */ name, /** @type {import("./state.mjs").Measured} */ each) =>
    name === hint ? -1 : each.cost / (name.startsWith(beside) ? BESIDE : 1);
  return Object.entries(state.baseline.cases)
    .filter(
      ([, { hits, failed }]) => failed === undefined && (everywhere || hits[id] !== undefined),
    )
    .sort(([a, x], [b, y]) => rank(a, x) - rank(b, y))
    .map(([name, { hits, cost }]) => ({ id: name, hits: hits[id] ?? 0, total: sum(hits), cost }));
}

/**
 * The cases that may say something new about a mutant; undefined when none can.
 * @param {State} state
 * @param {import("./instrument.mjs").Mutant} mutant
 * @param {string} build
 * @param {string} file digest
 * @param {number} quick milliseconds
 */
function toAsk(state, mutant, build, file, quick) {
  const old = state.outcomes.get(mutant.key);
  const all = covering(state, mutant, old?.by);
  if (old === undefined || old.file !== file) return all;
  const known = state.rounds[old.round] ?? {};
  const isKnown = (/** @type {string} */ id) => known[id] === state.baseline.cases[id]?.digest;
  if (old.status !== "survived")
    return old.build === build && isKnown(old.by ?? "") ? undefined : all;
  // A survivor of the same file is shown to new cases only, unless there was no time for all.
  const news = (old.quick ?? Infinity) < quick ? all : all.filter(({ id }) => !isKnown(id));
  return news.length === 0 ? undefined : news;
}

/**
 * The first of some cases that fit into a time together, and one at least.
 * @template {{ cost: number }} T
 * @param {T[]} ask
 * @param {number} ms
 */
function within(ask, ms) {
  let sum = 0;
  return ask.filter(({ cost }) => {
    if (sum > 0 && sum + cost > ms) return false;
    sum += cost;
    return true;
  });
}

/**
 * @param {string} folder
 * @param {{ sample?: number, seed: number, deadline: number, files: string, cases: RegExp, quick: number }} options
 * @returns {Promise<{ good: boolean, text: string }>}
 */
async function tryFolder(folder, { sample, seed, deadline, files, cases, quick }) {
  const built = await build(folder);
  const { digest, mutants: all, digests, ignored } = built;
  const state = new State(folder);
  const worker = new Worker(folder, built);
  const chosen = all.filter(({ file }) => file.includes(files));
  const mutants = sample === undefined ? chosen : draw(chosen, sample, seed);
  const say = (/** @type {string} */ text) => console.log(`  ${folder}: ${text}`);
  say(`${all.length} mutants (and ${ignored} of texts of messages, which do not count)`);
  const start = Date.now();
  const seconds = () => `${Math.round((Date.now() - start) / 1000)} s`;
  try {
    await measure(state, worker, digest, cases, start + 0.6 * (deadline - start), say);
    say(`measured after ${seconds()}`);
    const round = state.round();
    const shown = every(15_000);
    for (const [i, mutant] of mutants.entries()) {
      if (Date.now() > deadline) break;
      const file = digests[mutant.file] ?? "";
      const ask = toAsk(state, mutant, digest, file, quick);
      if (ask === undefined) continue;
      const old = state.outcomes.get(mutant.key);
      const reload = state.baseline.atLoad.includes(mutant.id);
      const answer =
        ask.length === 0
          ? { status: /** @type {const} */ ("survived"), asked: 0 }
          : await worker.tryMutant({ mutant: mutant.id, ask: within(ask, quick), reload });
      const isQuick = answer.status === "survived" && within(ask, quick).length < ask.length;
      const before = old?.status === "survived" && old.file === file ? old.asked : 0;
      const asked = answer.asked + before;
      const some = isQuick ? { quick } : {};
      state.add({ key: mutant.key, build: digest, file, round, ...answer, asked, ...some });
      if (shown()) say(`${i + 1} of ${mutants.length} after ${seconds()}`);
    }
  } finally {
    worker.stop();
  }
  say(`ends after ${seconds()}`);
  return report(folder, mutants, state, sample !== undefined);
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      sample: { type: "string" },
      seed: { type: "string" },
      seconds: { type: "string" },
      quick: { type: "string", default: "Infinity" },
      files: { type: "string", default: "" },
      cases: { type: "string", default: "" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help) return console.log(usage);
  const unknown = positionals.find((name) => folders[name] === undefined);
  if (unknown !== undefined) throw new Error(`mutants: no folder ${unknown}\n${usage}`);
  const chosen = positionals.length > 0 ? positionals : Object.keys(folders);
  const seed = Number(values.seed ?? process.env["SEED"] ?? Date.now() % 2 ** 31);
  if (values.sample !== undefined) console.log(`mutants: seed ${seed}`);
  const start = Date.now();
  const budget = values.seconds === undefined ? Infinity : Number(values.seconds) * 1000;
  const sample = values.sample === undefined ? {} : { sample: Number(values.sample) };
  const { files, quick } = values;
  const options = { seed, files, quick: Number(quick), cases: new RegExp(values.cases), ...sample };
  // As many folders side by side as there are processors; every row of them has its share of the time.
  const width = Math.max(1, availableParallelism());
  const rows = Math.ceil(chosen.length / width);
  for (let row = 0; row < rows; row++) {
    const deadline = start + (budget * (row + 1)) / rows;
    const folders = chosen.slice(row * width, (row + 1) * width);
    const reports = await Promise.all(
      folders.map((folder) => tryFolder(folder, { ...options, deadline })),
    );
    for (const { good, text } of reports) {
      console.log(text);
      if (!good) process.exitCode = 1;
    }
  }
}

await main();
