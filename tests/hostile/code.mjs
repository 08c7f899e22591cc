// @ts-check
/** Attack on the engine: random bytes as code, in every mode, on both of its paths. */
import { inEpisodes } from "./episodes.mjs";
import { Finding, realMode, World } from "./world.mjs";

const CODE = 0x10000;
const TABLES = 0x80000;

/** Prefixes and first bytes that make an instruction long, privileged or strange. */
const SPICE = [
  0x0f, 0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x48, 0x4f, 0x2e, 0x64, 0x65, 0xc4, 0xc5, 0x8e, 0xcd, 0xcf,
  0xca, 0xcb, 0x9a, 0xea, 0xff, 0xfe, 0xd9, 0xdb, 0xdd, 0xdf, 0xa4, 0xa5, 0x6c, 0x6f, 0xc8, 0x9d,
  0xfa, 0xfb, 0xf4,
];

/** Modes by name: control registers and the code segment. */
const MODES = {
  real: { cr0: 0x10n, cr4: 0n, efer: 0n, code: { type: 11, db: false, l: false } },
  protected16: { cr0: 0x11n, cr4: 0n, efer: 0n, code: { type: 11, db: false, l: false } },
  protected32: { cr0: 0x11n, cr4: 0x600n, efer: 0n, code: { type: 11, db: true, l: false } },
  paging32: { cr0: 0x80010011n, cr4: 0x610n, efer: 0n, code: { type: 11, db: true, l: false } },
  pae: { cr0: 0x80010011n, cr4: 0x620n, efer: 0x800n, code: { type: 11, db: true, l: false } },
  long32: { cr0: 0x80010033n, cr4: 0x620n, efer: 0xd01n, code: { type: 11, db: true, l: false } },
  long64: { cr0: 0x80010033n, cr4: 0x50620n, efer: 0xd01n, code: { type: 11, db: false, l: true } },
};

/** Writes tables for every mode: identity for the first 4 MiB and the local APIC. @param {World} world */
function writeTables(world) {
  const { view } = world.vm.linear;
  const at = world.ram.hva;
  const put = (/** @type {number} */ gpa, /** @type {bigint} */ value) =>
    view.setBigUint64(at + gpa, value, true);
  put(TABLES, BigInt(TABLES + 0x1007));
  for (let i = 0; i < 4; i++) put(TABLES + 0x1000 + i * 8, BigInt(TABLES + 0x2007 + i * 0x1000));
  for (let i = 0; i < 2048; i++) put(TABLES + 0x2000 + i * 8, BigInt(i * 0x200000) | 0x87n);
  // 32-bit tables at 0x90000, PAE's pointers at 0x91000.
  for (let i = 0; i < 1024; i++) view.setUint32(at + 0x90000 + i * 4, (i * 0x400000) | 0x87, true);
  for (let i = 0; i < 4; i++) put(0x91000 + i * 8, BigInt(TABLES + 0x2001 + i * 0x1000));
  put(0x92000, 0n);
  const flags = [0x9b, 0x93, 0x9b, 0x93, 0xfb, 0xf3, 0x89, 0x82, 0xec];
  for (const [i, access] of flags.entries()) {
    put(
      0x92008 + i * 8,
      0x00cf00000000ffffn | (BigInt(access) << 40n) | (i % 3 === 2 ? 0x2000n << 40n : 0n),
    );
  }
  for (let i = 0; i < 256; i++) {
    put(0x93000 + i * 16, 0x00008e0000080000n | BigInt(0x4000 + i * 16));
    put(0x93008 + i * 16, 0n);
  }
}

/**
 * @typedef {import("./values.mjs").Values} Values
 * @typedef {import("./world.mjs").Sregs} Sregs
 * @typedef {import("../../src/kvm/index.js").KvmRegs} Regs
 */

/**
 * Registers of a mode, at a privilege level, with segments that are sometimes odd.
 * @param {keyof typeof MODES} name
 * @param {Sregs} sregs
 * @param {number} cpl
 * @param {Values} v
 * @returns {Sregs}
 */
export function modeOf(name, sregs, cpl, v) {
  const { cr0, cr4, efer, code } = MODES[name];
  const real = name === "real";
  const base = realMode(sregs);
  const dpl = real ? 0 : cpl;
  const data = { ...base.ds, db: true, g: true, limit: 0xffffffff, dpl, selector: 16 | dpl };
  const odd = () =>
    v.chance(5) ? { ...data, base: v.wide(), limit: v.narrow(), type: v.below(16) } : data;
  const seg = real ? {} : { ds: odd(), es: odd(), fs: odd(), gs: odd(), ss: { ...data } };
  const cs = real ? base.cs : { ...data, ...code, selector: 8 | dpl };
  const cr3 = name === "pae" ? 0x91000n : name === "paging32" ? 0x90000n : BigInt(TABLES);
  const tables = {
    gdt: { base: 0x92000n, limit: 0x7f },
    idt: { base: 0x93000n, limit: v.chance(80) ? 0xfff : 0 },
  };
  return {
    ...base,
    ...seg,
    cs,
    cr0,
    cr3,
    cr4,
    efer,
    ...(real ? {} : tables),
    apicBase: sregs.apicBase,
  };
}

/**
 * Registers of the same names with random values.
 * @param {Values} v
 * @param {Regs} old
 * @returns {Regs}
 */
export function randomRegs(v, old) {
  const names = /** @type {(keyof Regs)[]} */ (Object.keys(old));
  const next = { ...old };
  for (const name of names) next[name] = v.wide();
  return next;
}

/** Random bytes that decode to something. @param {Values} v @param {number} length */
function randomCode(v, length) {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = v.chance(25) ? v.pick(SPICE) : v.u8();
  return bytes;
}

/** @type {import("./episodes.mjs").Episode} */
async function episode(lib, v, outcomes, cases, trace) {
  const world = await World.open(lib, v, v.pick(["kernel", "split", "none"]), 1 + v.below(2));
  const { vm } = world;
  const names = /** @type {(keyof typeof MODES)[]} */ (Object.keys(MODES));
  for (let n = 0; n < cases; n++) {
    if (n % 64 === 0) writeTables(world);
    const vcpu = v.pick(world.vcpus);
    const mode = v.pick(names);
    trace.push(mode);
    if (trace.length > 20) trace.shift();
    vm.linear.u8.set(randomCode(v, 64), world.ram.hva + CODE);
    vm.linear.noteWrite(lib.hva(world.ram.hva + CODE), 64);
    world.ignore(() => vcpu.setMpState(0));
    world.ignore(() => vcpu.setSregs(modeOf(mode, vcpu.getSregs(), v.chance(20) ? 3 : 0, v)));
    const regs = randomRegs(v, vcpu.getRegs());
    regs.rip = mode === "real" ? 0n : BigInt(CODE);
    regs.rsp = v.chance(80) ? 0x30000n : v.wide();
    regs.rcx = v.chance(80) ? BigInt(v.below(64)) : regs.rcx;
    regs.rflags = 2n | (BigInt(v.u32()) & (v.chance(90) ? 0xcd5n : 0x277fd5n));
    vcpu.setRegs(regs);
    const exit = await world.run(vcpu, 60 + v.below(200), 6);
    const kind = exit?.kind ?? "more";
    // Code in device memory, too many device accesses in one instruction: see kvm/run/emulation-failure.ts.
    if (
      exit?.kind === "internal-error" &&
      !/^(it executes where|one instruction makes|KVM does not emulate)/.test(exit.message)
    ) {
      throw new Finding(`${mode}: ${exit.message}`);
    }
    outcomes.set(kind, (outcomes.get(kind) ?? 0) + 1);
  }
  world.checkGuards();
  await world.checkAlive();
  vm.close();
}

const EPISODE = 2000;

/** The attack: see {@link inEpisodes}. */
export const attackCode = inEpisodes("code", EPISODE, episode);
