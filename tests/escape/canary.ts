/**
 * A VM whose memory slots lie between canaries, and whose guest is chaos: random page tables, registers
 * and code. Whatever it does, no byte outside of its slots may change, none may come to be seen, and
 * nothing may stop the engine.
 */
import { assert, gpa, type Hva, hva } from "../../src/base/index.js";
import { EngineExit, type EngineSlot } from "../../src/engine/bridge/port.js";
import { Layout } from "../../src/engine/bridge/state.gen.js";
import { loadEngine, segment } from "../../src/engine/tests/guest-cpu.fixture.js";
import { Prng } from "../native/prng.mjs";
import { loadRows } from "../native/rows.mjs";
import { interesting, randomCode } from "./random-code.mjs";

const PAGE = 0x1000;
const CANARY_BYTES = 0x4000;
/** First instructions of an episode. */
const BUDGET = 500;
/** Runs of an episode. */
const RUNS = 30;

const MAIN_BYTES = 0x20000;
/** The slots: a main one with all that the guest needs at first, and others. */
const SLOTS = [
  { gpa: 0, size: MAIN_BYTES, readonly: false, log: false },
  { gpa: 0x100000, size: 0x8000, readonly: false, log: true },
  { gpa: 0x200000, size: 0x4000, readonly: true, log: false },
  { gpa: 0xfffff000, size: 0x2000, readonly: false, log: false },
  { gpa: 0x4000000000, size: 0x3000, readonly: false, log: true },
];
// Pages of the main slot.
const PML4 = 0x1000;
const TABLES = [0x2000, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000];
const SYSTEM_TABLES = [0x8000, 0x9000, 0xa000];
const GDT = 0xb000;
const IDT = 0xc000;
const TSS = 0xd000;
const HANDLERS = 0xe000;
const STACKS = 0xf000;
const CODE = 0x10000;
const CODE_BYTES = 0x4000;
/** Where the main slot is mapped for the processor's own tables: not where random addresses lead. */
const SYSTEM = 0xffffff0000000000n;

const P = 1n;
const W = 2n;
const U = 4n;
const PS = 0x80n;

/** Which of the rules is broken. */
export class Escape extends Error {}

interface Slot extends EngineSlot {
  readonly before: Uint8Array | undefined;
}

/** Indices of tables that the random mappings use. */
const TOP = [0, 0, 1, 0x100, 0x1ff];
const MIDDLE = [0, 0, 1, 3, 511];

export class Canary {
  readonly #rng: Prng;
  readonly #vm;
  readonly #cpu;
  readonly #slots: Slot[] = [];
  /** Places of canaries in linear memory. */
  readonly #canaries: { at: Hva; bytes: number }[] = [];
  readonly #pattern: Buffer;
  readonly #words: ReadonlySet<bigint>;
  readonly #rows: Parameters<typeof randomCode>[1];

  private constructor(
    vm: Awaited<ReturnType<typeof newVm>>,
    rows: Parameters<typeof randomCode>[1],
    seed: string,
  ) {
    this.#rng = new Prng(seed);
    this.#vm = vm;
    this.#rows = rows;
    const word = Array.from({ length: 8 }, (_, i) => 0x80 | (this.#rng.below(127) ^ i));
    this.#pattern = Buffer.from(
      Array.from({ length: CANARY_BYTES }, (_, i) => word[i % 8] as number),
    );
    this.#words = new Set(word.map((_, i) => this.#pattern.readBigUInt64LE(i)));
    this.#canary();
    for (const slot of SLOTS) {
      const at = this.#allocate(slot.size);
      this.#canary();
      const log = slot.log ? this.#allocate(PAGE) : hva(0);
      if (slot.log) this.#canary();
      const before = slot.readonly ? vm.linear.u8.slice(at, at + slot.size) : undefined;
      this.#slots.push({ ...slot, gpa: gpa(slot.gpa), hva: at, dirtyBitmap: log, before });
    }
    this.#cpu = vm.createVcpu();
    this.#canary();
    [...this.#slots]
      .sort((a, b) => a.gpa - b.gpa)
      .forEach((slot, place) => {
        vm.insertSlot(place, slot);
      });
    vm.setTsc("work");
    this.#canaries.push({ at: hva(Layout.NULL_PAGE), bytes: 0 });
  }

  static async create(seed: string): Promise<Canary> {
    return new Canary(await newVm(), interesting(await loadRows()), seed);
  }

  get instructions(): number {
    return this.#cpu.instructions;
  }

  #allocate(bytes: number): Hva {
    const at = this.#vm.linear.allocate(bytes);
    assert(at !== undefined, "canary: memory");
    return at;
  }

  #canary(): void {
    const at = this.#allocate(CANARY_BYTES);
    this.#vm.linear.u8.set(this.#pattern, at);
    this.#canaries.push({ at, bytes: CANARY_BYTES });
  }

  get #main(): Hva {
    return (this.#slots[0] as Slot).hva;
  }

  #put(at: number, value: bigint): void {
    this.#vm.linear.view.setBigUint64(this.#main + at, BigInt.asUintN(64, value), true);
  }

  /** Some guest-physical page: in a slot, at the edge of one, or anywhere. */
  #page(): bigint {
    const rng = this.#rng;
    if (rng.chance(3)) return rng.u64() & 0x000f_ffff_ffff_f000n;
    const slot = rng.pick(SLOTS);
    const pages = slot.size / PAGE;
    return (
      BigInt(
        slot.gpa + rng.range(rng.chance(10) ? -1 : 0, pages - (rng.chance(10) ? 0 : 1)) * PAGE,
      ) & 0x000f_ffff_ffff_f000n
    );
  }

  /** An entry of a page table that may lead to a page of the guest. */
  #leaf(): bigint {
    const rng = this.#rng;
    if (rng.chance(25)) return 0n;
    if (rng.chance(2)) return rng.u64();
    const bits =
      P | (rng.chance(80) ? W : 0n) | (rng.chance(85) ? U : 0n) | BigInt(rng.below(32) << 4);
    return this.#page() | (bits & ~PS) | (rng.chance(10) ? 1n << 63n : 0n);
  }

  #buildTables(): void {
    const rng = this.#rng;
    const { u8 } = this.#vm.linear;
    u8.fill(0, this.#main, this.#main + GDT);
    const next = (list: readonly number[]) => BigInt(rng.pick(list)) | P | W | U;
    for (const i of TOP) this.#put(PML4 + i * 8, next(TABLES));
    for (const table of TABLES)
      for (let i = 0; i < 512; i++) {
        // A table is of every level at once: its entries lead on, or to a page.
        const lead = MIDDLE.includes(i) && rng.chance(60);
        const large = rng.chance(3) ? PS : 0n;
        this.#put(table + i * 8, lead ? next(TABLES) | large : this.#leaf());
      }
    const [a, b, c] = SYSTEM_TABLES as [number, number, number];
    this.#put(PML4 + 0x1fe * 8, BigInt(a) | P | W | U);
    this.#put(a, BigInt(b) | P | W | U);
    this.#put(b, BigInt(c) | P | W | U);
    for (let i = 0; i < MAIN_BYTES / PAGE; i++) this.#put(c + i * 8, BigInt(i * PAGE) | P | W | U);
  }

  /** Descriptors, gates to handlers that go on a few bytes further, stacks. */
  #buildSystem(): void {
    const descriptors = [
      0n,
      0xaf9b000000ffffn,
      0xcf93000000ffffn,
      0xcf9b000000ffffn,
      0xcff3000000ffffn,
      0xaffb000000ffffn,
      0xcffb000000ffffn,
    ];
    for (const [i, value] of descriptors.entries()) this.#put(GDT + i * 8, value);
    const memory = this.#vm.linear.u8;
    for (let vector = 0; vector < 64; vector++) {
      const at = Number(BigInt.asUintN(32, SYSTEM)) + HANDLERS + vector * 32;
      const ist = this.#rng.chance(90) ? 1n + BigInt(this.#rng.below(3)) : 0n;
      this.#put(
        IDT + vector * 16,
        BigInt(at & 0xffff) |
          (8n << 16n) |
          (ist << 32n) |
          (0xeen << 40n) |
          (BigInt(at >>> 16) << 48n),
      );
      this.#put(IDT + vector * 16 + 8, SYSTEM >> 32n);
      const error = [8, 10, 11, 12, 13, 14, 17].includes(vector);
      const forward = this.#rng.range(1, 6);
      // add rsp,8; add qword [rsp],n; and dword [rsp+16],~TF; iretq
      const code = [
        ...(error ? [0x48, 0x83, 0xc4, 8] : []),
        0x48,
        0x83,
        0x04,
        0x24,
        forward,
        0x81,
        0x64,
        0x24,
        0x10,
        0xff,
        0xfe,
        0xff,
        0xff,
        0x48,
        0xcf,
      ];
      memory.set(code, this.#main + HANDLERS + vector * 32);
    }
    for (let n = 0; n < 11; n++)
      this.#put(TSS + 4 + n * 8, SYSTEM + BigInt(STACKS + 0x200 + (n % 6) * 0x200));
  }

  /** A linear address: near 0, near the edge of a page, mapped at random, not canonical, or anything. */
  #address(): bigint {
    const rng = this.#rng;
    const kind = rng.below(20);
    if (kind < 4) return BigInt(rng.below(0x1010));
    if (kind === 4) return rng.u64();
    if (kind === 5) return 0x8000000000000000n | BigInt(rng.below(0x1000000));
    if (kind === 6) return SYSTEM + BigInt(rng.below(0x20000));
    const page =
      (BigInt(rng.pick(TOP)) << 27n) |
      (BigInt(rng.pick(MIDDLE)) << 18n) |
      (BigInt(rng.pick(MIDDLE)) << 9n) |
      BigInt(rng.below(512));
    const offset = rng.chance(40) ? rng.range(-16, 16) & 0xfff : rng.below(0x1000);
    const va = (page << 12n) | BigInt(rng.chance(70) ? offset & ~15 : offset);
    return BigInt.asUintN(64, BigInt.asIntN(48, va));
  }

  #registers(): void {
    const rng = this.#rng;
    const cpu = this.#cpu;
    for (let n = 0; n < 16; n++) cpu.setGpr(n, this.#address());
    if (rng.chance(60)) cpu.setGpr(1, BigInt(rng.below(40)));
    const kind = rng.below(20);
    const long = kind < 17;
    const user = rng.chance(50);
    const paging = kind !== 19;
    cpu.cr0 =
      0x11n |
      (paging ? 0x80000000n : 0n) |
      (rng.chance(50) ? 0x10000n : 0n) |
      (rng.chance(20) ? 0x40000n : 0n) |
      (rng.chance(5) ? 8n : 0n);
    cpu.cr4 =
      0x200n |
      (long || kind === 17 ? 0x20n : 0n) |
      (rng.chance(30) ? 0x200000n : 0n) |
      (rng.chance(30) ? 0x100000n : 0n) |
      (rng.chance(50) ? 0x80n : 0n) |
      0x10n;
    cpu.efer = (long ? 0x500n : 0n) | (rng.chance(70) ? 0x800n : 0n) | 1n;
    cpu.cr3 = BigInt(PML4);
    const sixtyFour = long && rng.chance(92);
    const level = user ? 3 : 0;
    const code = { dpl: level, l: sixtyFour, db: !sixtyFour, g: true };

    cpu.setSegment(1, segment(user ? 0x2b : 0x08, 0, 0xffffffff, 0xb, code));
    for (const n of [0, 2, 3, 4, 5])
      cpu.setSegment(n, {
        ...segment(user ? 0x23 : 0x10, 0, 0xffffffff, 3, { dpl: level, db: true, g: true }),
        base: n > 3 && long ? this.#canonical() : 0n,
      });
    cpu.setSegment(7, {
      ...segment(0x40, 0, 0x2000, 11, { s: false }),
      base: this.#system(TSS, long),
    });
    cpu.setSegment(6, { ...segment(0, 0, 0, 2, { s: false }), present: false, unusable: true });
    cpu.setGdt({ base: this.#system(GDT, long), limit: 0x37 });
    cpu.setIdt({ base: this.#system(IDT, long), limit: 0x3ff });
    cpu.rflags =
      2n |
      (rng.chance(15) ? 0x40000n : 0n) |
      (rng.chance(10) ? 0x400n : 0n) |
      (rng.chance(2) ? 0x100n : 0n) |
      (rng.chance(30) ? 0x200n : 0n);
    cpu.setDr(7, rng.chance(5) ? BigInt(rng.u32() & 0xffff00ff) : 0x400n);
    for (let n = 0; n < 4; n++) cpu.setDr(n, BigInt(rng.below(0x1000)));
    cpu.interruptShadow = 0;
    cpu.iretExit = false;
    cpu.cancelInjection();
    cpu.dropReplay();
    cpu.rip = this.#system(CODE + rng.below(CODE_BYTES - 64), long);
    cpu.syncSregs();
  }

  #canonical(): bigint {
    return BigInt.asUintN(64, BigInt.asIntN(48, this.#address()));
  }

  #system(at: number, long: boolean): bigint {
    return long ? SYSTEM + BigInt(at) : BigInt(at);
  }

  /** A chaos of some thousand instructions. Throws an {@link Escape}. */
  episode(number: number): void {
    const rng = this.#rng;
    const vm = this.#vm;
    this.#buildTables();
    this.#buildSystem();
    const code = randomCode(rng, this.#rows, CODE_BYTES);
    vm.linear.u8.set(code, this.#main + CODE);
    vm.noteWrite(this.#main, MAIN_BYTES);
    vm.core.setDecodeEach(number % 8 === 7);
    this.#registers();
    for (let i = 0; i < RUNS && this.#run(); i++) if (rng.chance(20)) this.#registers();
    this.#check();
  }

  /** One run(), and the answer to its exit. False when the episode is over. */
  #run(): boolean {
    const cpu = this.#cpu;
    const rng = this.#rng;
    if (rng.chance(5) && !cpu.replaying) cpu.injectInterrupt(32 + rng.below(32));
    let exit: number;
    try {
      exit = cpu.run(BUDGET);
    } catch (error) {
      throw new Escape(`the engine stops at ${cpu.rip.toString(16)}: ${String(error)}`);
    }
    switch (exit) {
      case EngineExit.IO:
      case EngineExit.MMIO:
        if (cpu.exit.write) cpu.completeWrite();
        else cpu.completeRead(rng.u64());
        return true;
      case EngineExit.SHUTDOWN:
      case EngineExit.INTERNAL:
      case EngineExit.MEMORY:
        this.#registers();
        return true;
      case EngineExit.HYPERCALL:
        cpu.skipInstruction(3);
        return true;
      case EngineExit.CPUID:
        cpu.completeCpuid(rng.u32(), rng.u32(), rng.u32(), rng.u32());
        return true;
      case EngineExit.RDMSR:
        cpu.completeRdmsr(rng.u64());
        return true;
      case EngineExit.WRMSR:
        cpu.completeWrmsr();
        return true;
      case EngineExit.MWAIT:
        cpu.skipInstruction(cpu.exit.size);
        return true;
      default:
        return true;
    }
  }

  #check(): void {
    const memory = Buffer.from(this.#vm.linear.memory.buffer);
    for (const { at, bytes } of this.#canaries) {
      if (memory.compare(this.#pattern, 0, bytes, at, at + bytes) !== 0)
        throw new Escape(`the canary at ${at.toString(16)} was overwritten`);
    }
    if (memory.subarray(0, Layout.CPU).some((byte) => byte !== 0))
      throw new Escape("the page at 0 was overwritten");
    for (const slot of this.#slots) {
      const now = memory.subarray(slot.hva, slot.hva + slot.size);
      if (slot.before && now.compare(slot.before) !== 0)
        throw new Escape("a read-only slot was overwritten");
      if (now.includes(this.#pattern.subarray(0, 8)))
        throw new Escape(`the slot at ${slot.gpa.toString(16)} holds a canary's bytes`);
    }
    for (let n = 0; n < 16; n++)
      if (this.#words.has(this.#cpu.gpr(n)))
        throw new Escape(`register ${n} holds a canary's bytes`);
    const fpu = Buffer.from(this.#cpu.fpu());
    for (let at = 32; at < 416; at += 8)
      if (this.#words.has(fpu.readBigUInt64LE(at)))
        throw new Escape("an XMM register holds a canary's bytes");
  }
}

async function newVm() {
  return (await loadEngine("compiled")).createVm();
}
