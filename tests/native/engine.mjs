// @ts-check
/**
 * Runs cases in the engine's WebAssembly core. Page tables, descriptor tables and control registers
 * are set up as Linux has them for the harness: the case runs at CPL 3, and whatever ends it comes
 * through the IDT to a handler of one HLT at CPL 0, with the interrupted state on the stack.
 */
import { readFileSync } from "node:fs";
import { layOut, regions } from "../../tools/build/gen-state.mjs";
import {
  CODE_AT,
  CODE_BYTES,
  DATA_AT,
  DATA_BYTES,
  FS_BASE,
  GS_BASE,
  IMAGE_BYTES,
  LDT_ENTRIES,
  PAGE,
  RO_AT,
  STACK_AT,
  STACK_BYTES,
} from "./areas.mjs";

const { fields } = layOut();
const { list, end: LAYOUT_END } = regions();
const CPU_AT = list.find((region) => region.name === "CPU")?.start ?? 0;
/** @typedef {typeof import("../../src/engine/bridge/state.gen.js").Cpu} Fields */
/**
 * Addresses of the state block's fields.
 * @type {Record<keyof Fields, number>}
 */
const S = /** @type {Record<keyof Fields, number>} */ (
  Object.fromEntries(fields.map((field) => [field.name, CPU_AT + field.offset]))
);

const EXIT_BUDGET = 0;
const EXIT_HLT = 1;
const EXIT_SHUTDOWN = 9;
/** Far more than any case executes: repeated instructions count once. */
const BUDGET = 20000;

// Guest-physical places, page by page.
const PML4 = 0x1000;
const PDPT_LOW = 0x2000;
const PD_LOW = 0x3000;
const PT_CODE = 0x4000;
const PT_DATA = 0x5000;
const PT_STACK = 0x6000;
const PDPT_HIGH = 0x7000;
const PD_HIGH = 0x8000;
const PT_HIGH = 0x9000;
const TABLES = 0xa000; // GDT, TSS, LDT
const IDT = 0xb000;
const HANDLERS = 0xc000;
const KERNEL_STACK = 0xd000;
const CODE = 0x10000;
const IMAGE = 0x12000;
const RAM_BYTES = 0x20000;

/** Kernel addresses: where Linux has its per-CPU entry area. TABLES is mapped here, and what follows. */
const HIGH = 0xfffffe0000000000n;
const GDT_OFFSET = 0;
const TSS_OFFSET = 0x200;
const LDT_OFFSET = 0x400;
const highOf = (/** @type {number} */ gpa) => HIGH + BigInt(gpa - TABLES);
/** Room for one frame only: a second event on this stack is a triple fault, not an endless loop. */
const STACK_TOP = highOf(KERNEL_STACK) + 64n;
const HANDLER_BYTES = 8;

const PRESENT = 1n;
const WRITABLE = 2n;
const USER = 4n;
const NX = 1n << 63n;

const CR0 = 0x80050033n; // PE MP ET NE WP AM PG
const CR4 = 0x350ea0n; // PAE PGE OSFXSR OSXMMEXCPT UMIP FSGSBASE OSXSAVE SMEP SMAP
const EFER = 0xd01n; // SCE LME LMA NXE

/**
 * A descriptor of 8 bytes. `access`: bits 40 to 47, `flags`: bits 52 to 55.
 * @param {string | number | bigint | boolean} base
 * @param {string | number | bigint | boolean} limit
 * @param {string | number | bigint | boolean} access
 * @param {string | number | bigint | boolean} flags
 */
function descriptor(base, limit, access, flags) {
  const b = BigInt(base);
  const l = BigInt(limit);
  return (
    (l & 0xffffn) |
    ((b & 0xffffffn) << 16n) |
    (BigInt(access) << 40n) |
    (((l >> 16n) & 0xfn) << 48n) |
    (BigInt(flags) << 52n) |
    (((b >> 24n) & 0xffn) << 56n)
  );
}

/** Linux's descriptors by selector / 8 (arch/x86/kernel/cpu/common.c sets the same attributes). */
const GDT_ENTRIES = {
  1: descriptor(0, 0xfffff, 0x9b, 0xc),
  2: descriptor(0, 0xfffff, 0x9b, 0xa),
  3: descriptor(0, 0xfffff, 0x93, 0xc),
  4: descriptor(0, 0xfffff, 0xfb, 0xc),
  5: descriptor(0, 0xfffff, 0xf3, 0xc),
  6: descriptor(0, 0xfffff, 0xfb, 0xa),
};
const TSS_SELECTOR = 0x40;
const LDT_SELECTOR = 0x50;

/** The three ways a case is executed: by blocks decoded just now, by the same blocks again, one by one. */
export const PATHS = ["cached", "again", "each"];

export class Engine {
  /** @param {string} file the core: dist/engine/core.wasm or a partial build */
  constructor(file) {
    const memory = new WebAssembly.Memory({ initial: LAYOUT_END / 65536 + 16, maximum: 65536 });
    const module = new WebAssembly.Module(readFileSync(file));
    const env = {
      memory,
      abort: () => {
        throw new Error("engine core: abort");
      },
      hostClockNs: () => 0,
      // No slot here waits for its memory.
      hostBackSlot: () => 0,
    };
    const { exports } = new WebAssembly.Instance(module, { env });
    /** The functions of src/engine/core/index.ts. */
    this.core = /** @type {import("../../src/engine/bridge/core-exports.js").CoreExports} */ (
      /** @type {unknown} */ (exports)
    );
    this.u8 = new Uint8Array(memory.buffer);
    this.view = new DataView(memory.buffer);
    this.ram = LAYOUT_END;
    this.image = Buffer.from(memory.buffer, this.ram + IMAGE, IMAGE_BYTES);
    const tlb = this.ram + RAM_BYTES;
    this.core.initMmu();
    this.core.dropBlocks();
    this.core.setTlbArea(0, tlb);
    this.core.prepareTlbArea(tlb);
    this.view.setUint32(S.TLB_ALL, tlb, true);
    this.core.insertSlot(0, 0n, BigInt(RAM_BYTES), this.ram, 0, 0);
    this.core.flushAllVcpus();
    this.u8.fill(0xcc, this.ram + CODE, this.ram + CODE + CODE_BYTES);
    this.#buildTables();
    this.#setSystemState();
  }

  /**
   * @param {number} gpa
   * @param {bigint} value
   */
  #put64(gpa, value) {
    this.view.setBigUint64(this.ram + gpa, BigInt.asUintN(64, value), true);
  }

  #buildTables() {
    const table = PRESENT | WRITABLE | USER;
    const low = BigInt(CODE_AT) >> 39n;
    this.#put64(PML4 + Number(low) * 8, BigInt(PDPT_LOW) | table);
    this.#put64(PDPT_LOW, BigInt(PD_LOW) | table);
    /** @type {(pt: number, va: number, gpa: number, bytes: number, flags: bigint) => void} */
    const map = (pt, va, gpa, bytes, flags) => {
      this.#put64(PD_LOW + (va >>> 21) * 8, BigInt(pt) | table);
      for (let at = 0; at < bytes; at += PAGE)
        this.#put64(pt + (((va + at) >>> 12) & 511) * 8, BigInt(gpa + at) | PRESENT | flags);
    };
    map(PT_CODE, CODE_AT, CODE, CODE_BYTES, USER);
    map(PT_DATA, DATA_AT, IMAGE, RO_AT - DATA_AT, USER | WRITABLE | NX);
    map(PT_DATA, RO_AT, IMAGE + RO_AT - DATA_AT, DATA_AT + DATA_BYTES - RO_AT, USER | NX);
    map(PT_STACK, STACK_AT, IMAGE + DATA_BYTES, STACK_BYTES, USER | WRITABLE | NX);
    this.#put64(PML4 + Number((HIGH >> 39n) & 511n) * 8, BigInt(PDPT_HIGH) | table);
    this.#put64(PDPT_HIGH + Number((HIGH >> 30n) & 511n) * 8, BigInt(PD_HIGH) | table);
    this.#put64(PD_HIGH + Number((HIGH >> 21n) & 511n) * 8, BigInt(PT_HIGH) | table);
    [TABLES, IDT, HANDLERS, KERNEL_STACK].forEach((gpa) => {
      this.#put64(
        PT_HIGH + ((gpa - TABLES) / PAGE) * 8,
        BigInt(gpa) | PRESENT | WRITABLE | (gpa === HANDLERS ? 0n : NX),
      );
    });
    for (const [i, value] of Object.entries(GDT_ENTRIES))
      this.#put64(TABLES + GDT_OFFSET + Number(i) * 8, value);
    const tss = highOf(TABLES) + BigInt(TSS_OFFSET);
    const ldt = highOf(TABLES) + BigInt(LDT_OFFSET);
    this.#put64(TABLES + TSS_SELECTOR, descriptor(tss & 0xffffffffn, 103, 0x8b, 0));
    this.#put64(TABLES + TSS_SELECTOR + 8, tss >> 32n);
    this.#put64(
      TABLES + LDT_SELECTOR,
      descriptor(ldt & 0xffffffffn, LDT_ENTRIES.length * 8 - 1, 0x82, 0),
    );
    this.#put64(TABLES + LDT_SELECTOR + 8, ldt >> 32n);
    LDT_ENTRIES.forEach((e, i) => {
      this.#put64(
        TABLES + LDT_OFFSET + i * 8,
        descriptor(e.base, e.limit, e.access, e.big ? 4 : 0),
      );
    });
    this.#put64(TABLES + TSS_OFFSET + 4, STACK_TOP);
    this.view.setUint16(this.ram + TABLES + TSS_OFFSET + 102, 104, true);
    for (let vector = 0; vector < 256; vector++) {
      const handler = highOf(HANDLERS) + BigInt(vector * HANDLER_BYTES);
      const dpl = vector === 3 || vector === 4 ? 3n : 0n;
      this.#put64(
        IDT + vector * 16,
        (handler & 0xffffn) |
          (0x10n << 16n) |
          ((0x8en | (dpl << 5n)) << 40n) |
          (((handler >> 16n) & 0xffffn) << 48n),
      );
      this.#put64(IDT + vector * 16 + 8, handler >> 32n);
      this.u8[this.ram + HANDLERS + vector * HANDLER_BYTES] = 0xf4;
    }
  }

  #setSystemState() {
    const v = this.view;
    v.setBigUint64(S.GDT_BASE, highOf(TABLES), true);
    v.setUint32(S.GDT_LIMIT, 0x7f, true);
    v.setBigUint64(S.IDT_BASE, highOf(IDT), true);
    v.setUint32(S.IDT_LIMIT, 0xfff, true);
    v.setBigUint64(S.CR0, CR0, true);
    v.setBigUint64(S.CR3, BigInt(PML4), true);
    v.setBigUint64(S.CR4, CR4, true);
    v.setBigUint64(S.EFER, EFER, true);
    v.setBigUint64(S.XCR0, 3n, true);
    this.#setSegment(
      6,
      LDT_SELECTOR,
      0x82,
      LDT_ENTRIES.length * 8 - 1,
      highOf(TABLES) + BigInt(LDT_OFFSET),
    );
    this.#setSegment(7, TSS_SELECTOR, 0x8b, 103, highOf(TABLES) + BigInt(TSS_OFFSET));
    for (let i = 0; i < 6; i++) this.#loadSegment(i, [0x2b, 0x33, 0x2b, 0x2b, 0, 0][i] ?? 0, 64);
    v.setUint32(S.CPL, 3, true);
    this.core.setFlags(2n);
    this.core.syncMode();
  }

  /**
   * @param {number} i
   * @param {number} selector
   * @param {number} attributes
   * @param {number} limit
   * @param {bigint} base
   */
  #setSegment(i, selector, attributes, limit, base) {
    const at = S.SEG + i * 16;
    this.view.setUint16(at, selector, true);
    this.view.setUint16(at + 2, attributes, true);
    this.view.setUint32(at + 4, limit, true);
    this.view.setBigUint64(at + 8, base, true);
  }

  /**
   * Puts a selector and its descriptor into a segment register.
   * @param {number} i
   * @param {number} selector
   * @param {number} mode
   */
  #loadSegment(i, selector, mode) {
    if (selector < 4) {
      const base = mode === 64 && i >= 4 ? (i === 4 ? FS_BASE : GS_BASE) : 0n;
      this.#setSegment(i, selector, 0, 0, base);
      return;
    }
    const table = selector & 4 ? TABLES + LDT_OFFSET : TABLES + GDT_OFFSET;
    const d = this.view.getBigUint64(this.ram + table + (selector & ~7), true);
    const attributes = Number((d >> 40n) & 0xffn) | (Number((d >> 52n) & 0xfn) << 8);
    let limit = Number((d & 0xffffn) | ((d >> 32n) & 0xf0000n));
    if (attributes & 0x800) limit = limit * 4096 + 0xfff;
    const base = ((d >> 16n) & 0xffffffn) | ((d >> 32n) & 0xff000000n);
    this.#setSegment(i, selector, attributes, limit >>> 0, base);
  }

  /**
   * @param {import("./types.js").TestCase} testCase
   * @param {ArrayLike<number>} base
   */
  #load(testCase, base) {
    const { setup, mode } = testCase;
    const v = this.view;
    this.image.set(base);
    for (const patch of setup.patches)
      this.image.set(setup.blob.subarray(patch.blobAt, patch.blobAt + patch.length), patch.offset);
    for (let i = 0; i < 16; i++) v.setBigUint64(S.GPR + i * 8, setup.gpr[i] ?? 0n, true);
    for (let i = 0; i < 6; i++) this.#loadSegment(i, setup.seg[i] ?? 0, mode);
    v.setBigUint64(S.RIP, BigInt(testCase.rip), true);
    v.setUint32(S.CPL, 3, true);
    v.setUint32(S.SHADOW, 0, true);
    v.setUint32(S.INJECT, 0, true);
    v.setUint32(S.REPLAY_COUNT, 0, true);
    v.setUint32(S.IRET_EXIT, 0, true);
    v.setBigUint64(S.CR2, 0n, true);
    this.core.setFlags(BigInt(setup.rflags));
    this.#loadFloats(setup.fxView);
    this.core.updateMode();
  }

  /** @param {DataView} fx */
  #loadFloats(fx) {
    const v = this.view;
    const fsw = fx.getUint16(2, true);
    v.setUint32(S.FCW, fx.getUint16(0, true), true);
    v.setUint32(S.FSW, fsw, true);
    v.setUint32(S.FTW, fx.getUint8(4), true);
    v.setUint32(S.MXCSR, fx.getUint32(24, true), true);
    v.setUint32(S.FOP, 0, true);
    v.setUint32(S.FCS, 0, true);
    v.setUint32(S.FDS, 0, true);
    v.setBigUint64(S.FIP, 0n, true);
    v.setBigUint64(S.FDP, 0n, true);
    for (let i = 0; i < 8; i++) {
      const at = S.FPR + (((fsw >> 11) + i) & 7) * 16;
      v.setBigUint64(at, fx.getBigUint64(32 + i * 16, true), true);
      v.setBigUint64(at + 8, BigInt(fx.getUint16(40 + i * 16, true)), true);
    }
    for (let i = 0; i < 256; i += 8)
      v.setBigUint64(S.XMM + i, fx.getBigUint64(160 + i, true), true);
  }

  #floats() {
    const v = this.view;
    const bytes = Buffer.alloc(512);
    const fsw = v.getUint32(S.FSW, true) & 0xffff;
    bytes.writeUInt16LE(v.getUint32(S.FCW, true) & 0xffff, 0);
    bytes.writeUInt16LE(fsw, 2);
    bytes[4] = v.getUint32(S.FTW, true) & 0xff;
    bytes.writeUInt32LE(v.getUint32(S.MXCSR, true), 24);
    for (let i = 0; i < 8; i++) {
      const at = S.FPR + (((fsw >> 11) + i) & 7) * 16;
      bytes.set(this.u8.subarray(at, at + 10), 32 + i * 16);
    }
    bytes.set(this.u8.subarray(S.XMM, S.XMM + 256), 160);
    return bytes;
  }

  /**
   * Puts a case's code in place, and takes it away again with `remove`.
   * @param {import("./types.js").TestCase} testCase
   * @param {boolean} remove
   */
  #placeCode(testCase, remove) {
    const at = this.ram + CODE + testCase.codeAt - CODE_AT;
    if (remove) this.u8.fill(0xcc, at, at + testCase.code.length);
    else this.u8.set(testCase.code, at);
    this.core.hostWrote(at, testCase.code.length);
  }

  /**
   * Runs a case on all paths: [result of each of PATHS], as decodeResults() gives them, with the
   * image instead of changes to it.
   * @returns {import("./types.js").EngineAnswer[]}
   * @param {import("./types.js").TestCase} testCase
   * @param {Uint8Array} base
   */
  run(testCase, base) {
    this.#placeCode(testCase, false);
    const results = PATHS.map((path) => {
      this.core.setDecodeEach(path === "each" ? 1 : 0);
      this.#load(testCase, base);
      let exit;
      try {
        exit = this.core.run(BUDGET);
      } catch (error) {
        return { crash: String(error instanceof Error ? error.stack : error) };
      }
      return this.#result(exit);
    });
    this.#placeCode(testCase, true);
    // After a crash only its text counts.
    return /** @type {import("./types.js").EngineAnswer[]} */ (results);
  }

  /**
   * @param {number} exit
   */
  #result(exit) {
    const v = this.view;
    if (exit !== EXIT_HLT && exit !== EXIT_SHUTDOWN) {
      return {
        crash: exit === EXIT_BUDGET ? "does not end" : `exit ${exit}`,
        rip: v.getBigUint64(S.RIP, true),
      };
    }
    const rip = v.getBigUint64(S.RIP, true);
    const vector = Number((rip - highOf(HANDLERS)) / BigInt(HANDLER_BYTES));
    if (vector < 0 || vector > 255) return { crash: `exit ${exit} at ${rip.toString(16)}`, rip };
    const hasError = [8, 10, 11, 12, 13, 14, 17].includes(vector);
    let at = this.ram + KERNEL_STACK + 64 - (hasError ? 48 : 40);
    const pop = () => {
      at += 8;
      return v.getBigUint64(at - 8, true);
    };
    const error = hasError ? Number(pop()) : 0;
    const [rip3, cs, rflags, rsp, ss] = [pop(), pop(), pop(), pop(), pop()];
    const gpr = new BigUint64Array(16);
    for (let i = 0; i < 16; i++) gpr[i] = v.getBigUint64(S.GPR + i * 8, true);
    gpr[4] = rsp;
    const seg = [0, 1, 2, 3, 4, 5].map((i) => v.getUint16(S.SEG + i * 16, true));
    seg[1] = Number(cs);
    seg[2] = Number(ss);
    return {
      fx: this.#floats(),
      gpr,
      rip: rip3,
      rflags: Number(rflags),
      // Without a HLT row (partial build) the double fault has changed CR2.
      cr2: exit === EXIT_HLT ? v.getBigUint64(S.CR2, true) : undefined,
      seg,
      vector,
      error,
      image: Buffer.from(this.image),
    };
  }
}
