import { existsSync, readFileSync } from "node:fs";
import { assert, gpa, type Hva } from "../../base/index.js";
import {
  type DecodePath,
  Engine,
  type EngineOptions,
  type WasmVcpu,
  type WasmVm,
} from "../bridge/index.js";
import type { EngineExitCode, EngineSlot, Segment } from "../bridge/port.js";

/**
 * A bare vCPU with 4 MiB of RAM at 0 and the tables every test needs: a GDT, an IDT whose handlers
 * are HLT instructions at known places, a TSS, and identity-mapped page tables. Tests write machine
 * code as hex, run it, and look at registers and stack.
 */

const CORE = new URL("../../../dist/engine/core.wasm", import.meta.url);
/** Another core to test, for the development of a part; see tools/build/engine.mjs --out. */
const OTHER = process.env["KVM_XEN_CORE"];

const engines = new Map<string, Engine>();

/** The ways to execute code. */
export const PATHS: readonly DecodePath[] = ["cached", "each", "compiled"];
/** Everything is compiled at once. */
export const COMPILE_AT_ONCE = { sample: 1, threshold: 1, record: 12, batch: 1 } as const;

/** The engine that takes one of the ways; the same for all tests of a process. */
export async function loadEngine(
  decode: DecodePath = "cached",
  compile: EngineOptions["compile"] = COMPILE_AT_ONCE,
  single32 = 0,
): Promise<Engine> {
  const file = OTHER ?? CORE;
  assert(existsSync(file), "engine core missing: run node tools/build/engine.mjs");
  const key = decode + JSON.stringify([compile, single32]);
  const engine =
    engines.get(key) ?? (await Engine.compile(readFileSync(file), { decode, compile, single32 }));
  engines.set(key, engine);
  return engine;
}

/** Where things are in guest-physical memory. */
export const At = {
  GDT: 0x1000,
  IDT: 0x2000,
  TSS: 0x3000,
  LDT: 0x3800,
  /** Page tables grow from here. */
  TABLES: 0x40000,
  /** Handler of vector n is HLT at HANDLERS + 16 n. */
  HANDLERS: 0x8000,
  CODE: 0x10000,
  /** Tops of the stacks: current at the start, TSS levels 0 to 2, IST 1 to 3. */
  STACK: 0x20000,
  STACK0: 0x21000,
  IST: 0x24000,
  USER_STACK: 0x30000,
  USER_CODE: 0x38000,
  DATA: 0x100000,
  RAM: 0x400000,
} as const;

/** Selectors of the test's GDT. Those for privilege level 3 have RPL 3. */
export const Sel = {
  CODE64: 0x08,
  DATA: 0x10,
  CODE32: 0x18,
  USER_DATA: 0x2b,
  USER_CODE64: 0x33,
  USER_CODE32: 0x23,
  CODE16: 0x38,
  DATA16: 0x40,
  TSS: 0x50,
  /** Free for tests, two descriptors each. */
  FREE: 0x60,
  FREE2: 0x70,
  FREE3: 0x80,
} as const;

/** Page table entry bits. */
export const Pte = {
  P: 1n,
  W: 2n,
  U: 4n,
  PWT: 8n,
  PCD: 16n,
  A: 0x20n,
  D: 0x40n,
  PS: 0x80n,
  G: 0x100n,
  NX: 1n << 63n,
} as const;

export const CR0 = {
  PE: 1n,
  MP: 2n,
  EM: 4n,
  TS: 8n,
  NE: 0x20n,
  WP: 0x10000n,
  AM: 0x40000n,
  PG: 0x80000000n,
};
export const CR4 = {
  TSD: 4n,
  DE: 8n,
  PSE: 0x10n,
  PAE: 0x20n,
  PGE: 0x80n,
  OSFXSR: 0x200n,
  UMIP: 0x800n,
  FSGSBASE: 0x10000n,
  OSXSAVE: 0x40000n,
  SMEP: 0x100000n,
  SMAP: 0x200000n,
};
export const EFER = { SCE: 1n, LME: 0x100n, LMA: 0x400n, NXE: 0x800n };
export const Flag = {
  CF: 1n,
  ZF: 0x40n,
  TF: 0x100n,
  IF: 0x200n,
  IOPL3: 0x3000n,
  NT: 0x4000n,
  RF: 0x10000n,
  VM: 0x20000n,
  AC: 0x40000n,
};

/** Modes a test can start in. `long32` is compatibility mode. */
export type Mode = "real" | "protected32" | "paging32" | "pae" | "long32" | "long64";

export const Reg = {
  RAX: 0,
  RCX: 1,
  RDX: 2,
  RBX: 3,
  RSP: 4,
  RBP: 5,
  RSI: 6,
  RDI: 7,
  R11: 11,
} as const;

const RAM_SLOT = { gpa: gpa(0), size: At.RAM, readonly: false };

/** Options of {@link GuestCpu.create}. */
export interface GuestCpuOptions {
  /** Start at this privilege level (protected and long modes). */
  readonly cpl?: 0 | 3;
  /** Memory slots beside RAM. */
  readonly slots?: readonly Omit<EngineSlot, "hva" | "dirtyBitmap">[];
  /** Pages of RAM that are written are logged. */
  readonly log?: boolean;
  /** Default: cached. */
  readonly decode?: DecodePath;
  /** Default: {@link COMPILE_AT_ONCE}. */
  readonly compile?: EngineOptions["compile"];
  /** Default: 0. */
  readonly single32?: number;
  /** In place of one with the options above. */
  readonly engine?: Engine;
}

/** A vCPU under test. */
export class GuestCpu {
  readonly vm: WasmVm;
  readonly cpu: WasmVcpu;
  readonly mode: Mode;
  readonly ram: Hva;
  readonly bitmap: Hva;
  #tables: number = At.TABLES;

  private constructor(vm: WasmVm, mode: Mode, options: GuestCpuOptions) {
    this.vm = vm;
    this.mode = mode;
    const ram = vm.linear.allocate(At.RAM);
    const bitmap = vm.linear.allocate(4096);
    assert(ram !== undefined && bitmap !== undefined, "memory for the guest");
    this.ram = ram;
    this.bitmap = bitmap;
    const more = (options.slots ?? []).map((slot): EngineSlot => {
      const hva = vm.linear.allocate(slot.size);
      assert(hva !== undefined, "memory for a slot");
      return { ...slot, hva, dirtyBitmap: 0 as Hva };
    });
    const log = options.log === true ? bitmap : (0 as Hva);
    [{ ...RAM_SLOT, hva: ram, dirtyBitmap: log }, ...more]
      .sort((a, b) => a.gpa - b.gpa)
      .forEach((slot, place) => {
        vm.insertSlot(place, slot);
      });
    vm.setTsc("work");
    this.cpu = vm.createVcpu();
    this.#setUp(options.cpl ?? 0);
  }

  /** Makes a vCPU in `mode`, ready to run at At.CODE (At.USER_CODE at privilege level 3). */
  static async create(mode: Mode, options: GuestCpuOptions = {}): Promise<GuestCpu> {
    const engine =
      options.engine ?? (await loadEngine(options.decode, options.compile, options.single32));
    return new GuestCpu(engine.createVm(), mode, options);
  }

  // Memory.
  u16(at: number): number {
    return this.vm.linear.view.getUint16(this.ram + at, true);
  }
  u32(at: number): number {
    return this.vm.linear.view.getUint32(this.ram + at, true);
  }
  u64(at: number): bigint {
    return this.vm.linear.view.getBigUint64(this.ram + at, true);
  }
  put16(at: number, value: number): void {
    this.vm.linear.view.setUint16(this.ram + at, value, true);
  }
  put32(at: number, value: number): void {
    this.vm.linear.view.setUint32(this.ram + at, value, true);
  }
  put64(at: number, value: bigint): void {
    this.vm.linear.view.setBigUint64(this.ram + at, BigInt.asUintN(64, value), true);
  }
  /** Writes machine code, given as hex, at `at`. */
  bytes(at: number, hex: string): void {
    const list = hex.replace(/\s+/g, "").match(/../g) ?? [];
    this.vm.linear.u8.set(
      list.map((byte) => Number.parseInt(byte, 16)),
      this.ram + at,
    );
    this.vm.noteWrite((this.ram + at) as Hva, list.length);
  }

  // Registers.
  get rip(): number {
    return Number(this.cpu.rip);
  }
  reg(n: number): bigint {
    return this.cpu.gpr(n);
  }
  set(values: Partial<Record<keyof typeof Reg, bigint>>): this {
    for (const [name, value] of Object.entries(values)) {
      this.cpu.setGpr(Reg[name as keyof typeof Reg], value);
    }
    return this;
  }

  /** Changes control registers or flags and tells the engine. */
  control(values: Partial<Record<"cr0" | "cr3" | "cr4" | "efer" | "rflags", bigint>>): this {
    Object.assign(this.cpu, values);
    this.cpu.syncSregs();
    return this;
  }

  /** Puts code (hex) where the vCPU starts, and starts there. */
  code(hex: string): this {
    const at = this.cpu.cpl === 3 ? At.USER_CODE : At.CODE;
    this.bytes(at, hex);
    this.cpu.rip = BigInt(this.mode === "real" ? at & 0xffff : at);
    return this;
  }

  /** Runs at most `max` instructions. */
  run(max = 100): EngineExitCode {
    return this.cpu.run(max);
  }

  /** Runs until HLT. The vector whose handler it was, or undefined when it was another HLT. */
  runToHandler(max = 100): number | undefined {
    const code = this.run(max);
    assert(code === 1, `HLT expected, exit was ${code} at ${this.rip.toString(16)}`);
    const n = this.rip - 1 - At.HANDLERS;
    return n >= 0 && n < 0x1000 && n % 16 === 0 ? n / 16 : undefined;
  }

  /** The quadwords (long mode), doublewords or words on the stack, from the top. */
  stack(count: number): bigint[] {
    const long = this.cpu.efer & EFER.LMA;
    const size = long ? 8 : this.mode === "real" ? 2 : 4;
    const base = Number(this.cpu.segment(2).base) * (long ? 0 : 1);
    const top = base + Number(this.cpu.gpr(Reg.RSP) & (size === 2 ? 0xffffn : 0xffffffffffffffffn));
    return Array.from({ length: count }, (_, i) => {
      const at = top + i * size;
      return size === 8 ? this.u64(at) : BigInt(size === 4 ? this.u32(at) : this.u16(at));
    });
  }

  /** Writes a descriptor of 8 bytes: base, limit (as encoded), access byte, and flags (G DB L AVL). */
  descriptor(selector: number, base: number, limit: number, access: number, flags = 0): void {
    const at = At.GDT + (selector & ~7);
    this.put32(at, ((base & 0xffff) << 16) | (limit & 0xffff));
    const high =
      (base & 0xff000000) |
      (flags << 20) |
      (limit & 0xf0000) |
      (access << 8) |
      ((base >> 16) & 0xff);
    this.put32(at + 4, high >>> 0);
  }

  /** Writes the gate of a vector. `type` 0xe interrupt, 0xf trap, 6 and 7 of 16 bits, 5 task. */
  gate(vector: number, selector: number, offset: number, type: number, dpl = 0, ist = 0): void {
    const long = (this.cpu.efer & EFER.LMA) !== 0n;
    const at = At.IDT + vector * (long ? 16 : 8);
    this.put32(at, ((selector << 16) | (offset & 0xffff)) >>> 0);
    this.put32(at + 4, ((offset & 0xffff0000) | 0x8000 | (dpl << 13) | (type << 8) | ist) >>> 0);
    if (long) this.put64(at + 8, 0n);
  }

  /** A fresh zeroed page for tables. */
  tablePage(): number {
    const at = this.#tables;
    this.#tables += 0x1000;
    return at;
  }

  /** Maps in four-level tables; `levels` 1 is a 4 KiB page, 2 a 2 MiB page, 3 a 1 GiB page. */
  map(va: bigint, pa: bigint, bits: bigint, level = 1, upper = Pte.P | Pte.W | Pte.U): void {
    let table = Number(this.cpu.cr3);
    for (let n = 4; n > level; n--) {
      const at = table + Number((va >> BigInt(12 + 9 * (n - 1))) & 511n) * 8;
      if ((this.u64(at) & Pte.P) === 0n) this.put64(at, BigInt(this.tablePage()) | upper);
      table = Number(this.u64(at) & 0xffffff000n);
    }
    this.put64(this.entry(va, level), pa | bits | (level > 1 ? Pte.PS : 0n));
  }

  /** Where the entry of `va` at a level of the four-level tables is. */
  entry(va: bigint, level = 1): number {
    let table = Number(this.cpu.cr3);
    for (let n = 4; ; n--) {
      const at = table + Number((va >> BigInt(12 + 9 * (n - 1))) & 511n) * 8;
      if (n === level) return at;
      table = Number(this.u64(at) & 0xffffff000n);
    }
  }

  #setUp(cpl: 0 | 3): void {
    const { cpu, mode } = this;
    const long = mode === "long32" || mode === "long64";
    for (let vector = 0; vector < 256; vector++) this.bytes(At.HANDLERS + vector * 16, "f4");
    this.descriptor(Sel.CODE64, 0, 0xfffff, 0x9b, 0xa);
    this.descriptor(Sel.DATA, 0, 0xfffff, 0x93, 0xc);
    this.descriptor(Sel.CODE32, 0, 0xfffff, 0x9b, 0xc);
    this.descriptor(Sel.USER_CODE32, 0, 0xfffff, 0xfb, 0xc);
    this.descriptor(Sel.USER_DATA, 0, 0xfffff, 0xf3, 0xc);
    this.descriptor(Sel.USER_CODE64, 0, 0xfffff, 0xfb, 0xa);
    this.descriptor(Sel.CODE16, 0, 0xffff, 0x9b, 0);
    this.descriptor(Sel.DATA16, 0, 0xffff, 0x93, 0);
    this.descriptor(Sel.TSS, At.TSS, 0x7ff, 0x89);
    this.put64(At.GDT + Sel.TSS + 8, 0n);
    cpu.setGdt({ base: BigInt(At.GDT), limit: 0xff });
    cpu.cr4 = 0n;
    cpu.efer = 0n;
    cpu.cr3 = 0n;
    cpu.cr0 = mode === "real" ? 0x10n : 0x31n;
    cpu.rflags = 2n;
    if (mode === "real") this.#realMode();
    else this.#protectedMode(long, cpl);
    cpu.setGpr(Reg.RSP, BigInt(cpl === 3 ? At.USER_STACK : mode === "real" ? 0xf000 : At.STACK));
    cpu.syncSregs();
  }

  #realMode(): void {
    for (let vector = 0; vector < 256; vector++) {
      this.put32(vector * 4, At.HANDLERS + vector * 16);
    }
    this.cpu.setIdt({ base: 0n, limit: 0x3ff });
    for (let n = 0; n < 6; n++) {
      const base = n === 1 ? At.CODE : n === 2 ? 0x10000 : 0;
      this.cpu.setSegment(n, segment(base >> 4, base, 0xffff, n === 1 ? 0xb : 3, {}));
    }
    this.#systemSegments(0x8b);
  }

  #protectedMode(long: boolean, cpl: 0 | 3): void {
    const { cpu, mode } = this;
    const handlers = long ? Sel.CODE64 : Sel.CODE32;
    if (long) this.#longMode();
    else if (mode === "paging32") this.#paging32();
    else if (mode === "pae") this.#pae();
    const wide = mode === "long64";
    const user = cpl === 3;
    const code = user ? (wide ? Sel.USER_CODE64 : Sel.USER_CODE32) : wide ? Sel.CODE64 : Sel.CODE32;
    cpu.setSegment(1, segment(code, 0, 0xffffffff, 0xb, { dpl: cpl, l: wide, db: !wide, g: true }));
    const data = user ? Sel.USER_DATA : Sel.DATA;
    for (const n of [0, 2, 3, 4, 5]) {
      cpu.setSegment(n, segment(data, 0, 0xffffffff, 3, { dpl: cpl, db: true, g: true }));
    }
    this.#systemSegments(0x8b);
    cpu.setIdt({ base: BigInt(At.IDT), limit: long ? 0xfff : 0x7ff });
    for (let vector = 0; vector < 256; vector++) {
      this.gate(vector, handlers, At.HANDLERS + vector * 16, 0xe);
    }
    if (long) {
      this.put64(At.TSS + 4, BigInt(At.STACK0));
      for (let n = 1; n <= 7; n++) this.put64(At.TSS + 28 + n * 8, BigInt(At.IST + n * 0x800));
    } else {
      this.put32(At.TSS + 4, At.STACK0);
      this.put16(At.TSS + 8, Sel.DATA);
    }
    this.put16(At.TSS + 0x66, 0x800);
  }

  #systemSegments(type: number): void {
    const tss = segment(Sel.TSS, At.TSS, 0x7ff, type & 15, { s: false });
    this.cpu.setSegment(7, tss);
    this.cpu.setSegment(6, {
      ...segment(0, 0, 0, 2, { s: false }),
      present: false,
      unusable: true,
    });
  }

  #longMode(): void {
    const { cpu } = this;
    cpu.cr3 = BigInt(this.tablePage());
    cpu.cr4 = CR4.PAE;
    cpu.cr0 |= CR0.PG | CR0.WP;
    cpu.efer = EFER.LME | EFER.LMA | EFER.NXE;
    for (let page = 0; page < At.RAM; page += 0x1000) {
      this.map(BigInt(page), BigInt(page), Pte.P | Pte.W | Pte.U);
    }
  }

  #paging32(): void {
    const directory = this.tablePage();
    const table = this.tablePage();
    this.cpu.cr3 = BigInt(directory);
    this.put32(directory, table | 7);
    for (let n = 0; n < 1024; n++) this.put32(table + n * 4, (n << 12) | 7);
    this.cpu.cr0 |= CR0.PG | CR0.WP;
  }

  #pae(): void {
    const top = this.tablePage();
    const directory = this.tablePage();
    this.put64(top, BigInt(directory) | 1n);
    for (let n = 0; n < 2; n++) {
      const table = this.tablePage();
      this.put64(directory + n * 8, BigInt(table) | 7n);
      for (let i = 0; i < 512; i++) {
        this.put64(table + i * 8, (BigInt(n) << 21n) | (BigInt(i) << 12n) | 7n);
      }
    }
    this.cpu.cr3 = BigInt(top);
    this.cpu.cr4 = CR4.PAE;
    this.cpu.efer = EFER.NXE;
    this.cpu.cr0 |= CR0.PG | CR0.WP;
  }
}

/** Segment register contents. */
export function segment(
  selector: number,
  base: number,
  limit: number,
  type: number,
  more: Partial<Segment>,
): Segment {
  return {
    selector,
    base: BigInt(base),
    limit,
    type,
    present: true,
    dpl: 0,
    db: false,
    s: true,
    l: false,
    g: false,
    avl: false,
    unusable: false,
    ...more,
  };
}

/** Little-endian hex of a number in `bytes` bytes, to be put into machine code. */
export function le(value: number | bigint, bytes = 4): string {
  const text = BigInt.asUintN(bytes * 8, BigInt(value))
    .toString(16)
    .padStart(bytes * 2, "0");
  return (text.match(/../g) ?? []).reverse().join(" ");
}
