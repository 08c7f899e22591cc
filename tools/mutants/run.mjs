// @ts-check
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
  --seconds N  stops after that time, for all folders together; the next run goes on
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
 */
async function measure(state, worker, digest, wanted, deadline) {
  await worker.start();
  worker.cases = worker.cases.filter(([id]) => wanted.test(id));
  const old = state.baseline.digest === digest ? state.baseline.cases : {};
  /** @type {State["baseline"]["cases"]} */
  const cases = {};
  for (const [id, text] of worker.cases) if (old[id]?.digest === text) cases[id] = old[id];
  const missing = worker.cases.map(([id]) => id).filter((id) => cases[id] === undefined);
  console.log(`  ${worker.cases.length} cases, ${missing.length} of them to be measured`);
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
  if (missing.length > 0) console.log(`  no time to measure ${missing.length} cases`);
  state.saveBaseline();
  for (const text of refused.slice(0, 10))
    console.log(`  fails without mutants, is not asked: ${text}`);
  if (refused.length > 10) throw new Error(`mutants: ${refused.length} cases fail without mutants`);
}

/**
 * The cases that come by a mutant, the cheapest first, and before all the one that noticed the last time. What
 * code comes by while it is loaded may show anywhere.
 * @param {State} state
 * @param {string} id
 * @param {string | undefined} hint
 */
function covering(state, id, hint) {
  const everywhere = state.baseline.atLoad.includes(id);
  const cost = (/** @type {string} */ name, /** @type {number} */ ms) => (name === hint ? -1 : ms);
  return Object.entries(state.baseline.cases)
    .filter(
      ([, { hits, failed }]) => failed === undefined && (everywhere || hits[id] !== undefined),
    )
    .sort(([a, x], [b, y]) => cost(a, x.cost) - cost(b, y.cost))
    .map(([name, { hits }]) => ({ id: name, hits: hits[id] ?? 0 }));
}

/**
 * @param {string} folder
 * @param {{ sample?: number, seed: number, deadline: number, files: string, cases: RegExp }} options
 */
async function tryFolder(folder, { sample, seed, deadline, files, cases }) {
  console.log(`\n== mutants of ${folder}`);
  const { bundle, digest, mutants: all, digests, ignored } = await build(folder);
  const state = new State(folder);
  const worker = new Worker(folder, bundle, all.length + ignored);
  const chosen = all.filter(({ file }) => file.includes(files));
  const mutants = sample === undefined ? chosen : draw(chosen, sample, seed);
  console.log(`  ${all.length} mutants (and ${ignored} of texts of messages, which do not count)`);
  try {
    const now = Date.now();
    await measure(state, worker, digest, cases, now + 0.6 * (deadline - now));
    const round = state.round();
    const shown = every(15_000);
    for (const [i, mutant] of mutants.entries()) {
      if (Date.now() > deadline) break;
      const old = state.outcomes.get(mutant.key);
      const file = digests[mutant.file] ?? "";
      const sameFile = old?.file === file;
      if (old?.build === digest && old.round === round) continue;
      if (old?.status === "timeout" && sameFile) continue;
      if (old?.build === digest && old.status === "killed") continue;
      let ask = covering(state, mutant.id, old?.by);
      // A survivor of the same file is shown to new cases only.
      if (old?.status === "survived" && sameFile) {
        const known = state.rounds[old.round] ?? {};
        ask = ask.filter(({ id }) => known[id] !== state.baseline.cases[id]?.digest);
      }
      const reload = state.baseline.atLoad.includes(mutant.id);
      const answer =
        ask.length === 0
          ? { status: /** @type {const} */ ("survived"), asked: 0 }
          : await worker.tryMutant({ mutant: mutant.id, ask, reload });
      const before = old?.status === "survived" && sameFile ? old.asked : 0;
      const asked = answer.asked + before;
      state.add({ key: mutant.key, build: digest, file, round, ...answer, asked });
      if (shown()) console.log(`  ${i + 1} of ${mutants.length}`);
    }
  } finally {
    worker.stop();
  }
  return report(folder, mutants, state, sample !== undefined);
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      sample: { type: "string" },
      seed: { type: "string" },
      seconds: { type: "string" },
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
  let good = true;
  for (const [i, folder] of chosen.entries()) {
    // Every folder has its share of the time, and what the earlier ones left.
    const deadline = start + (budget * (i + 1)) / chosen.length;
    const options = { seed, deadline, files: values.files, cases: new RegExp(values.cases) };
    const sample = values.sample === undefined ? {} : { sample: Number(values.sample) };
    good = (await tryFolder(folder, { ...options, ...sample })) && good;
  }
  process.exitCode = good ? 0 : 1;
}

await main();
