// @ts-check
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { patched, readPatches } from "../../spec/kvm/patches.mjs";
import { root } from "../check/files.mjs";
import { folders } from "./folders.mjs";
import { digest } from "./instrument.mjs";
import { MemoryPool } from "./memory-pool.mjs";
import { collect } from "./vitest-shim.mjs";

/**
 * Runs in a process of its own: loads a bundle, answers requests of `run.mjs`. It is ended from outside when a
 * mutant makes it spin.
 *
 * @typedef {{ id: string, digest: string, run: () => Promise<void> }} Case
 *
 * What a bundle exports: the library, and the test files by name.
 * @typedef {typeof import("../../src/hosts/sim/index.js") & typeof import("../../src/play/index.js")
 *   & Pick<typeof import("../../src/engine/bridge/index.js"), "Engine">
 *   & { Layout: NonNullable<MemoryPool["layout"]>, tests: Record<string, () => Promise<unknown>> }} Code
 *
 * A case to ask: how often it comes by the mutant, and by all mutants together.
 * @typedef {{ id: string, hits: number, total: number }} Ask
 *
 * @typedef {{ baseline: string[] } | { mutant: string, ask: Ask[], reload: boolean }} Order
 */

const [folder = "", bundle = "", count = "0", digests = "{}"] = process.argv.slice(2);
/** Digests of the files of unit tests. @type {Record<string, string>} */
const tests = JSON.parse(digests);

/** The mutant that is switched on. */
let active = -1;
/** How often code asked for it, and how often it may. */
let asks = 0;
let mayAsk = Infinity;
/** How often code came by any mutants, and how often it may: what spins without asking for its mutant does that. */
let calls = 0;
let mayCall = Infinity;
/** How often code came by each mutant. */
let recording = true;
const passed = new Uint32Array(Number(count));

/** What instrumented code asks: whether to be a mutant. @param {number} id */
function act(id) {
  if (id !== active) return false;
  if (++asks > mayAsk) throw new Error("mutants: it spins");
  return true;
}

/** What instrumented code says: it is at these mutants. @param {number[]} ids */
function cov(...ids) {
  if (!recording) {
    if (++calls > mayCall) throw new Error("mutants: it spins");
    return;
  }
  for (const id of ids) passed[id] = (passed[id] ?? 0) + 1;
}

/** What code came by since the last time. */
function takePassed() {
  /** @type {Record<string, number>} */
  const hits = {};
  passed.forEach((times, id) => {
    if (times > 0) hits[id] = times;
  });
  passed.fill(0);
  return hits;
}
Object.assign(globalThis, { mutantSwitches: { act, cov } });

/** The engine's core is compiled once, however often a bundle is loaded. */
const compile = WebAssembly.compile;
/** @type {Map<string, Promise<WebAssembly.Module>>} */
const compiled = new Map();
WebAssembly.compile = (bytes) => {
  const name = digest(new Uint8Array(/** @type {ArrayBuffer} */ (bytes)));
  const module = compiled.get(name) ?? compile(bytes);
  compiled.set(name, module);
  return module;
};

/** What failed outside of the case that caused it. @type {unknown[]} */
const strays = [];
process.on("unhandledRejection", (reason) => strays.push(reason));
process.on("uncaughtException", (reason) => strays.push(reason));

const hasScenarios = folders[folder]?.scenarios === true;
const pool = new MemoryPool(!hasScenarios);

/**
 * Runs a case whose memories are used again.
 * @param {() => Promise<void>} run
 */
async function pooled(run) {
  let passed = false;
  pool.open();
  try {
    await run();
    passed = true;
  } finally {
    pool.close(passed);
  }
}
const vectors = join(root, "tests/vectors");

/** The release whose answers are kept where they are other than those of 6.12. */
const NEWER = "7.2";

/**
 * A recorded scenario: the first line that differs from Linux's is a failure.
 * @param {Code} code
 * @param {import("../../src/kvm/index.js").EngineFactory} engine
 * @param {string} name
 * @param {Map<number, string>} [newer] the lines that the newer release answered otherwise
 * @returns {Case}
 */
function scenario(code, engine, name, newer) {
  const text = readFileSync(join(vectors, `${name}.scn`));
  const answers = readFileSync(join(vectors, `${name}.out`), "latin1");
  const recorded = patched(answers.split("\n").slice(0, -1), newer);
  const linux = newer === undefined ? {} : /** @type {const} */ ({ linux: NEWER });
  const time = () => {
    const clock = new code.VirtualClock();
    return { clock, timers: new code.HeapTimers(clock) };
  };
  const play = async () => {
    let at = 0;
    for await (const line of code.playScenario(text, { engine, time, ...linux }))
      if (line !== recorded[at++]) throw new Error(`line ${at}: ${line}`);
    if (at !== recorded.length) throw new Error(`ends after line ${at}`);
  };
  const run = () => pooled(play);
  const id = newer === undefined ? `scenario ${name}` : `scenario ${name} on Linux ${NEWER}`;
  const said = newer === undefined ? answers : recorded.join("\n");
  return { id, digest: digest(`${text.toString("latin1")}\0${said}`), run };
}

/** @param {Code} code */
async function scenarios(code) {
  if (!hasScenarios) return [];
  const core = readFileSync(join(root, "dist/engine/core.wasm"));
  const engine = await code.Engine.compile(core, {});
  pool.layout = code.Layout;
  const newer = readPatches(readFileSync(join(vectors, `linux-${NEWER}.txt`), "latin1"));
  const names = readdirSync(vectors, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => readdirSync(join(vectors, entry.name)).map((f) => `${entry.name}/${f}`))
    .filter((path) => path.endsWith(".scn"))
    .map((path) => path.slice(0, -4));
  return [
    ...names.map((name) => scenario(code, engine, name)),
    ...[...newer].map(([name, lines]) => scenario(code, engine, name, lines)),
  ];
}

/** @param {Code} code */
async function unitCases(code) {
  /** @type {Case[]} */
  const cases = [];
  for (const [path, load] of Object.entries(code.tests)) {
    for (const { name, run } of await collect(load)) {
      // Tests of the engine look at how big its memory is.
      const runs = hasScenarios ? run : () => pooled(run);
      cases.push({ id: `${path} > ${name}`, digest: tests[path] ?? "", run: runs });
    }
  }
  return cases;
}

let loads = 0;
/** Loads the bundle, as if for the first time. */
async function load() {
  const code = await import(`${pathToFileURL(bundle).href}?load=${loads++}`);
  const all = [...(await scenarios(code)), ...(await unitCases(code))];
  return new Map(all.map((each) => [each.id, each]));
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Runs a case; what it throws, or undefined. @param {Case} each */
async function failure(each) {
  for (const last of [false, true]) {
    strays.length = 0;
    try {
      await each.run();
      await turn();
    } catch (error) {
      await turn();
      return error ?? new Error("nothing was thrown");
    }
    // What an earlier case left behind fails once only.
    if (strays.length === 0 || last) break;
  }
  return strays[0];
}

const cpuMs = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
const send = (/** @type {import("./crew.mjs").Answer} */ message) => process.send?.(message);

let cases = await load();
const atLoad = Object.keys(takePassed());
recording = false;
/** The loaded code is that of a mutant which code came by while it was loaded. */
let tainted = false;

/**
 * Runs cases without a mutant: what they cost, and which mutants they come by.
 * @param {string[]} only
 */
async function baseline(only) {
  if (tainted) cases = await load();
  tainted = false;
  recording = true;
  for (const id of only) {
    const each = cases.get(id);
    if (each === undefined) continue;
    send({ at: id });
    takePassed();
    const before = cpuMs();
    const failed = await failure(each);
    const cost = cpuMs() - before;
    const why = failed === undefined ? {} : { failed: String(failed) };
    send({ measured: { id, digest: each.digest, cost, hits: takePassed(), ...why } });
  }
  recording = false;
  send({ baseline: true });
}

/**
 * Shows a mutant to cases until one notices.
 * @param {{ mutant: string, ask: Ask[], reload: boolean }} request
 */
async function tryMutant({ mutant, ask, reload }) {
  asks = 0;
  mayAsk = 1_000_000;
  mayCall = Infinity;
  if (tainted || reload) {
    if (reload) active = Number(mutant);
    tainted = reload;
    try {
      cases = await load();
    } catch (error) {
      send({ tried: { status: "killed", by: "loading", why: String(error), asked: 1 } });
      return;
    }
  }
  active = Number(mutant);
  let asked = 0;
  for (const { id, hits, total } of ask) {
    const each = cases.get(id);
    if (each === undefined) continue;
    asked++;
    send({ at: id });
    asks = 0;
    mayAsk = hits * 100 + 1_000_000;
    calls = 0;
    mayCall = total * 100 + 1_000_000;
    const failed = await failure(each);
    const spun = asks > mayAsk || calls > mayCall;
    if (failed === undefined && !spun) continue;
    if (!spun && !reload) {
      // It noticed the mutant if it passes without.
      active = -1;
      if ((await failure(each)) !== undefined) {
        send({ tried: { status: "unsure", by: id, asked } });
        return;
      }
    }
    const why = (String(failed).split("\n")[0] ?? "").slice(0, 200);
    send({ tried: { status: spun ? "timeout" : "killed", by: id, asked, why } });
    return;
  }
  send({ tried: { status: "survived", asked } });
}

process.on("message", async (/** @type {Order} */ request) => {
  if ("baseline" in request) await baseline(request.baseline);
  else await tryMutant(request);
  active = -1;
});
process.on("disconnect", () => process.exit(0));
send({ ready: [...cases.values()].map((each) => [each.id, each.digest]), atLoad });
