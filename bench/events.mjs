// @ts-check
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EventGuest, Loop, loadEngine, MASK_FROM_PENDING, PORT } from "./event-guest.mjs";
import { median, table } from "./guests.mjs";

/**
 * Event channels: sends through the typed API, and round trips in the guest (hypercall, upcall,
 * return), next to three uncontended atomic operations in C. Every row is measured in each round,
 * so that a busy machine touches all of them alike; medians are printed.
 * @typedef {object} Row
 * @property {string} name
 * @property {number} goal million a second, 0 for none
 * @property {(warmUp: boolean) => Promise<number>} measure how many a second
 */

/** How long one measurement of a guest takes, and the one before all others, for the compilers. */
const GUEST_MS = 400;
const WARM_UP_MS = 1500;
const API_CALLS = 400_000;

/**
 * The floor, or undefined when there is no compiler.
 * @param {string} folder
 * @returns {Row | undefined}
 */
function floor(folder) {
  if (spawnSync("gcc", ["--version"]).status !== 0) return undefined;
  const binary = join(folder, "event-floor");
  const source = new URL("event-floor.c", import.meta.url).pathname;
  execFileSync("gcc", ["-O2", "-o", binary, source]);
  const measure = async () => Number(execFileSync(binary).toString());
  return { name: "floor: 3 atomic operations in C", goal: 0, measure };
}

/** What a loop over the API resets after each send, and what it expects of it. */
const SendCase = {
  DELIVERED: { clear: true, mask: 0, pending: 1, upcall: 1 },
  COALESCED: { clear: false, mask: 0, pending: 1, upcall: 0 },
  MASKED: { clear: true, mask: 1, pending: 1, upcall: 0 },
};

/**
 * @param {string} name
 * @param {EventGuest} guest
 * @param {typeof SendCase.DELIVERED} kind
 * @param {number} goal
 * @returns {Row}
 */
function sends(name, guest, kind, goal) {
  const { view, pendingWord, vcpuInfo } = guest;
  const { xen } = guest.vm;
  const event = { port: PORT, vcpu: guest.vcpu.id, priority: 0xffffffff };
  const bit = 1 << (PORT & 31);
  const measure = async () => {
    view.setUint32(pendingWord + MASK_FROM_PENDING, kind.mask * bit, true);
    view.setUint32(pendingWord, kind.clear ? 0 : bit, true);
    let sum = 0;
    const start = performance.now();
    for (let i = 0; i < API_CALLS; i++) {
      xen.evtchnSend(event);
      if (!kind.clear) continue;
      sum += view.getUint8(vcpuInfo);
      view.setUint32(pendingWord, 0, true);
      view.setUint32(vcpuInfo + 8, 0, true);
      view.setUint8(vcpuInfo, 0);
    }
    const seconds = (performance.now() - start) / 1000;
    if (sum !== kind.upcall * API_CALLS) throw new Error(`${name}: ${sum} upcalls`);
    return API_CALLS / seconds;
  };
  return { name, goal, measure };
}

/**
 * @param {string} name
 * @param {EventGuest} guest
 * @param {number} goal
 * @param {{ upcalls?: boolean, direct?: boolean }} [options] upcalls: every round ends with one;
 *   direct: exits without promises
 * @returns {Row}
 */
function rounds(name, guest, goal, { upcalls = false, direct = false } = {}) {
  const measure = async (/** @type {boolean} */ warmUp) => {
    const before = guest.rounds;
    const start = performance.now();
    await guest.run(warmUp ? WARM_UP_MS : GUEST_MS, direct);
    const seconds = (performance.now() - start) / 1000;
    const made = guest.rounds - before;
    if (upcalls && Math.abs(guest.upcalls - guest.rounds) > 1) throw new Error(`${name}: lost`);
    return made / seconds;
  };
  return { name, goal, measure };
}

const UPCALLS = { upcalls: true };

/** @returns {Promise<Row[]>} */
async function rows() {
  const engine = await loadEngine();
  const make = (
    /** @type {string} */ loop,
    /** @type {import("./event-guest.mjs").Upcall} */ upcall = "hvm",
  ) => EventGuest.create(engine, loop, upcall);
  const idle = await make(Loop.SEND);
  const lapic = await make(Loop.SEND, "x2apic");
  return [
    sends("API send, delivered", idle, SendCase.DELIVERED, 5),
    sends("API send, delivered by LAPIC", lapic, SendCase.DELIVERED, 0),
    sends("API send, pending already", idle, SendCase.COALESCED, 0),
    sends("API send, masked", idle, SendCase.MASKED, 0),
    rounds("guest round trip, HVM vector", await make(Loop.SEND), 1, UPCALLS),
    rounds("guest round trip, LAPIC, x2APIC EOI", await make(Loop.SEND, "x2apic"), 0, UPCALLS),
    rounds("guest round trip, LAPIC, xAPIC EOI", await make(Loop.SEND, "xapic"), 0, UPCALLS),
    rounds("exit answered inside (CPUID)", await make(Loop.CPUID), 0),
    rounds("client's hypercall, run()", await make(Loop.HYPERCALL), 0),
    rounds("client's hypercall, runNow()", await make(Loop.HYPERCALL), 0, { direct: true }),
    rounds("client's port access, run()", await make(Loop.PORT), 0),
    rounds("client's port access, runNow()", await make(Loop.PORT), 0, { direct: true }),
  ];
}

const million = (/** @type {number} */ value) => (value / 1e6).toFixed(3);

/**
 * Measures and prints.
 * @param {{ runs: number, only: readonly string[] }} options `only`: parts of the names of rows
 * @param {import("../dist/hosts/node/progress-line.js").ProgressLine} progress
 */
export async function events({ runs, only }, progress) {
  const folder = mkdtempSync(join(tmpdir(), "kvm-xen-events-"));
  try {
    const base = floor(folder);
    const wanted = (await rows()).filter(
      ({ name }) => only.length === 0 || only.some((part) => name.includes(part)),
    );
    const all = base === undefined ? wanted : [base, ...wanted];
    /** @type {Map<Row, number[]>} */
    const samples = new Map(all.map((row) => [row, []]));
    progress.step("event channels");
    for (let round = 0; round <= runs; round++) {
      for (const [i, row] of all.entries()) {
        progress.fraction((round * all.length + i) / ((runs + 1) * all.length));
        const rate = await row.measure(round === 0);
        if (round > 0) samples.get(row)?.push(rate);
      }
    }
    progress.end();
    const floorRate = base === undefined ? Number.NaN : median(samples.get(base) ?? []);
    const lines = all.map((row) => {
      const rate = median(samples.get(row) ?? []);
      const ratio = Number.isNaN(floorRate) ? "-" : (floorRate / rate).toFixed(1);
      return [row.name, million(rate), ratio, row.goal === 0 ? "" : `goal ${row.goal} M/s`];
    });
    console.log(`\nEvent channels, median of ${runs}`);
    if (base === undefined) console.log("no floor: gcc is not installed");
    console.log(table([["", "M/s", "floor / it", ""], ...lines]));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
