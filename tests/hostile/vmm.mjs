// @ts-check
/**
 * Attack on the user half: every hypercall through its dispatcher with random arguments, and random
 * contents of everything that the guest shares with it.
 */
import { inEpisodes } from "./episodes.mjs";
import { Finding, World } from "./world.mjs";

const MIB = 1 << 20;
const ARENA = 0x100000;

const CALLS = [12, 15, 17, 18, 20, 21, 24, 29, 32, 33, 34, 13, 40];
/** Sub-operations that exist, by call. @type {Record<number, number>} */
const SUBS = {
  12: 30,
  15: 4,
  17: 12,
  18: 3,
  20: 13,
  21: 8,
  24: 15,
  29: 8,
  32: 15,
  33: 30,
  34: 26,
  13: 3,
  40: 12,
};

const PATHS = [
  "/local/domain/1",
  "/local/domain/1/device",
  "data",
  "/local/domain/1/data/x",
  "control/shutdown",
  "/",
  "@releaseDomain",
  "@introduceDomain",
  "/local/domain/0",
  "a//b",
  "",
  "/local/domain/1/data/%u",
];

/**
 * @typedef {import("./types.js").Library} Library
 * @typedef {import("./values.mjs").Values} Values
 */

/** @param {Library} lib @param {Values} v */
async function open(lib, v) {
  const world = await World.open(lib, v, "split", 2);
  const { vm, vcpus } = world;
  for (const id of [0, 1])
    vm.setUserMemoryRegion({
      slot: id,
      flags: 0,
      guestPhysAddr: 0,
      memorySize: 0,
      userspaceAddr: 0,
    });
  const ram = world.allocate(4 * MIB);
  const physmap = new lib.GuestPhysmap(vm, [{ gpa: lib.gpa(0), size: 4 * MIB, hva: ram }]);
  /** @type {number[]} */
  const shutdowns = [];
  const log = { warn: () => undefined, debug: () => undefined };
  const domain = new lib.Domain({
    ...{ vm, physmap, vcpus, clock: world.clock, timers: world.timers, log, shutdowns },
    debugLog: log,
    console: { write: () => undefined, onData: () => undefined },
    memmap: lib.memoryMap(4 * MIB),
    memoryBytes: 4 * MIB,
    uuid: new Uint8Array(16),
    name: "hostile",
    consoleGfn: lib.CONSOLE_GFN,
    xenstoreGfn: lib.XENSTORE_GFN,
    onShutdown: (reason) => shutdowns.push(reason),
    onSuspend: () => shutdowns.push(2),
  });
  vm.xen.hvmConfig({ flags: 0x22, msr: 0x40000200 });
  for (const vcpu of vcpus) {
    const sregs = vcpu.getSregs();
    vcpu.setCpuid2(world.kvm.getSupportedCpuid());
    vcpu.setSregs({
      ...sregs,
      cr0: 0x80010033n,
      cr3: 0x80000n,
      cr4: 0x20n,
      efer: 0xd01n,
      cs: { ...sregs.cs, l: true },
    });
  }
  return { world, domain, physmap, ram, hypercalls: new lib.Hypercalls(domain) };
}

/** @param {World} world @param {number} ram */
function writePageTables(world, ram) {
  const { view } = world.vm.linear;
  const put = (/** @type {number} */ gpa, /** @type {bigint} */ value) =>
    view.setBigUint64(ram + gpa, value, true);
  put(0x80000, 0x81007n);
  for (let i = 0; i < 4; i++) put(0x81000 + i * 8, BigInt(0x82007 + i * 0x1000));
  for (let i = 0; i < 2048; i++) put(0x82000 + i * 8, BigInt(i * 0x200000) | 0x87n);
}

/** Fills the arena that most arguments point to. @param {World} world @param {Values} v @param {number} ram */
function fillArena(world, v, ram) {
  const { view } = world.vm.linear;
  for (let i = 0; i < 0x800; i += 4) {
    const value = v.chance(60) ? v.small(64) : v.chance(50) ? ARENA + v.below(0x1000) : v.narrow();
    view.setUint32(ram + ARENA + v.below(0x400) * 4, value >>> 0, true);
  }
  world.vm.linear.noteWrite(world.lib.hva(ram + ARENA), 0x1000);
}

/** A message in the xenstore ring, and indices that may fit. @param {World} world @param {Values} v @param {number} page */
function fillStoreRing(world, v, page) {
  const { u8, view } = world.vm.linear;
  if (v.chance(10)) {
    u8.set(v.bytes(0x1000), page);
    return;
  }
  const paths = Array.from({ length: 1 + v.below(3) }, () =>
    v.chance(85) ? v.pick(PATHS) : String.fromCharCode(...v.bytes(v.below(300))),
  );
  const payload = Buffer.from(`${paths.join("\0")}${v.chance(80) ? "\0" : ""}`, "latin1");
  const length = v.chance(90) ? payload.length : v.narrow();
  const message = Buffer.alloc(16 + payload.length);
  message.writeUInt32LE(v.small(24), 0);
  message.writeUInt32LE(v.u32(), 4);
  message.writeUInt32LE(v.chance(70) ? 0 : v.small(6), 8);
  message.writeUInt32LE(length, 12);
  payload.copy(message, 16);
  let prod = view.getUint32(page + 2052, true);
  if (v.chance(95)) view.setUint32(page + 2048, prod, true);
  for (const byte of message) u8[page + (prod++ & 1023)] = byte;
  if (v.chance(5)) prod = v.narrow();
  view.setUint32(page + 2052, prod >>> 0, true);
  // Room for the answer.
  if (v.chance(95)) view.setUint32(page + 2056, view.getUint32(page + 2060, true), true);
}

/** @param {World} world @param {Values} v @param {number} page */
function fillConsoleRing(world, v, page) {
  const { u8, view } = world.vm.linear;
  if (v.chance(20)) u8.set(v.bytes(0x1000), page);
  view.setUint32(page + 3072, v.chance(50) ? v.below(1024) : v.narrow(), true);
  view.setUint32(page + 3076, v.chance(50) ? v.below(3000) : v.narrow(), true);
  view.setUint32(page + 3080, v.chance(50) ? v.below(1024) : v.narrow(), true);
  view.setUint32(page + 3084, v.chance(50) ? v.below(3000) : v.narrow(), true);
}

/** @param {Values} v */
function argument(v) {
  switch (v.below(6)) {
    case 0:
      return BigInt(v.below(16));
    case 1:
      return v.wide();
    default:
      return BigInt(ARENA + v.below(0x400) * 4);
  }
}

/** @type {import("./episodes.mjs").Episode} */
async function episode(lib, v, outcomes, calls, trace) {
  const { world, domain, physmap, ram, hypercalls } = await open(lib, v);
  const count = (/** @type {string} */ what) => outcomes.set(what, (outcomes.get(what) ?? 0) + 1);
  /** @param {number} nr @param {bigint[]} args */
  const call = (nr, args, longmode = true) => {
    const param = (/** @type {number} */ i) => BigInt.asUintN(longmode ? 64 : 32, args[i] ?? 0n);
    /** @type {[bigint, bigint, bigint, bigint, bigint, bigint]} */
    const params = [param(0), param(1), param(2), param(3), param(4), param(5)];
    trace.push(`${nr}(${params.map((p) => p.toString(16)).join(" ")})`);
    if (trace.length > 20) trace.shift();
    const vcpu = domain.vcpus.get(v.below(2));
    if (vcpu === undefined) throw new Finding("the domain has lost a vCPU");
    const kind = /** @type {const} */ ("xen");
    const exit = {
      kind,
      longmode,
      cpl: v.chance(99) ? 0 : 3,
      input: BigInt(nr),
      params,
      result: 0n,
    };
    for (let turns = 0; ; turns++) {
      const result = hypercalls.dispatch(vcpu, exit);
      if (typeof result === "bigint") return Number(BigInt.asIntN(64, result));
      // A guest is interrupted between these: a list without end does not hold it up.
      if (turns === 3) return 0;
      params.splice(0, result.args.length, ...result.args);
    }
  };
  for (let n = 0; n < calls; n++) {
    if (n % 32 === 0) {
      writePageTables(world, ram);
      fillArena(world, v, ram);
    }
    const nr = v.chance(97) ? v.pick(CALLS) : v.narrow();
    const sub = v.chance(90) ? BigInt(v.below(SUBS[nr] ?? 4)) : v.wide();
    if (nr === 12 && v.chance(80)) fillArena(world, v, ram);
    const args = [sub, argument(v), argument(v), argument(v), v.wide(), v.wide()];
    if (nr === 20) args[2] = v.chance(90) ? BigInt(v.below(20)) : v.wide();
    if (nr === 13) args.splice(0, 2, argument(v), v.chance(90) ? BigInt(v.below(8)) : v.wide());
    const result = call(nr, args, v.chance(80));
    count(result < 0 ? String(result) : "ok");
    if (n % 7 === 0) {
      const store = physmap.memory.locate(lib.XENSTORE_GFN * 4096, 4096);
      const text = physmap.memory.locate(lib.CONSOLE_GFN * 4096, 4096);
      if (store !== undefined) fillStoreRing(world, v, store);
      if (text !== undefined) fillConsoleRing(world, v, text);
      const { view } = world.vm.linear;
      view.setUint32(ram + ARENA, v.chance(90) ? 1 + v.below(3) : v.narrow(), true);
      call(32, [4n, BigInt(ARENA)]);
      if (v.chance(20)) domain.consoleInput(v.bytes(1 + v.below(64)));
    }
    if (n % 50 === 0) {
      world.clock.virtual.advance(v.below(2_000_000_000));
      world.timers.runDue();
    }
    if (v.chance(2)) {
      const mapped = domain.grants.map(lib.grantRef(v.small(600)), v.chance(50));
      if (typeof mapped !== "number") mapped.unmap();
    }
  }
  domain.close();
  world.checkGuards();
  world.vm.close();
}

const EPISODE = 8000;

/** The attack: see {@link inEpisodes}. */
export const attackVmm = inEpisodes("vmm", EPISODE, episode);
