// @ts-check
/**
 * The state a case starts from, while the case is being made: registers that already mean something
 * ("pinned") keep their values, the others can still be chosen so that an instruction's operands
 * land where they should.
 */
import {
  CODE_AT,
  CODE_BYTES,
  DATA_AT,
  IMAGE_BYTES,
  imageOffset,
  initialSegments,
  PAGE,
  RO_AT,
  STACK_AT,
  STACK_BYTES,
} from "./areas.mjs";
import { fill, interestingF80, interestingInt, putF80, putInt } from "./values.mjs";

export const RAX = 0;
export const RCX = 1;
export const RDX = 2;
export const RBX = 3;
export const RSP = 4;
export const RBP = 5;
export const RSI = 6;
export const RDI = 7;

/** Limits of harness.c. */
export const MAX_PATCHES = 8;
export const BLOB_BYTES = 640;

export class Setup {
  /**
   * @param {import("./prng.mjs").Prng} rng
   * @param {16|32|64} mode
   * @param {boolean} single one instruction only
   */
  constructor(rng, mode, single) {
    this.rng = rng;
    this.mode = mode;
    this.single = single;
    this.registers = mode === 64 ? 16 : 8;
    this.gpr = new BigUint64Array(16);
    this.pinned = new Uint8Array(16);
    this.seg = initialSegments(mode);
    this.rflags = 0x202;
    this.fx = new Uint8Array(512);
    this.fxView = new DataView(this.fx.buffer);
    /** @type {{ offset: number, length: number, blobAt: number }[]} */
    this.patches = [];
    this.blob = new Uint8Array(BLOB_BYTES);
    this.blobView = new DataView(this.blob.buffer);
    this.blobUsed = 0;
    /**
     * Sequences: registers that no instruction is to write.
     * @type {number[]}
     */
    this.pointers = [];
    this.small = -1;
    /** Sequences: the register for a loop's count, or -1. */
    this.counter = -1;
    /**
     * Memory that is not compared.
     * @type {{ address: number, length: number }[]}
     */
    this.ignore = [];
    /** Where the case's code is going to be. */
    this.codeAt = CODE_AT;
    for (let i = 0; i < this.registers; i++) this.gpr[i] = interestingInt(rng, mode === 64 ? 8 : 4);
    this.setStackPointer();
  }

  /** RSP in the middle of the stack, aligned in most cases; not pinned. */
  setStackPointer() {
    const { rng } = this;
    let at = STACK_AT + PAGE + rng.range(-120, 120) * 8;
    if (rng.chance(10)) at += rng.below(16);
    if (this.single && rng.chance(4))
      at =
        STACK_AT +
        rng.pick([
          0,
          1,
          2,
          4,
          8,
          16,
          STACK_BYTES,
          STACK_BYTES - 2,
          STACK_BYTES - 8,
          STACK_BYTES - 12,
        ]);
    if (this.single && this.mode === 64 && rng.chance(3)) at = 0x800000000000 + rng.range(-9, 9);
    if (this.mode === 16)
      this.gpr[RSP] =
        BigInt((at - STACK_AT) | (rng.chance(50) ? 0 : rng.below(0x10000) << 16)) & 0xffffffffn;
    else this.gpr[RSP] = BigInt(at);
  }

  /** Chooses registers that stay pointers through a sequence. */
  choosePointers() {
    const { rng } = this;
    const low = this.mode === 16 ? 0 : DATA_AT;
    const choices = this.mode === 64 ? [3, 5, 8, 9, 10, 11, 12, 13, 14, 15] : [3, 5];
    const first = rng.pick(choices);
    this.pointers.push(first);
    this.want(first, BigInt(low + PAGE + rng.range(-200, 200) * 4));
    const rest = choices.filter((r) => r !== first);
    if (this.mode === 64) {
      const second = rng.pick(rest);
      this.pointers.push(second);
      this.want(second, BigInt(low + 2 * PAGE + rng.range(-500, 500)));
    }
    const left = rest.filter((r) => !this.pointers.includes(r));
    this.small = rng.pick(left);
    if (this.mode === 64) this.counter = rng.pick(left.filter((r) => r !== this.small));
    this.want(this.small, BigInt.asUintN(this.mode === 64 ? 64 : 32, BigInt(rng.range(-64, 64))));
    this.pinned[RSP] = 1;
  }

  /**
   * Gives register `r` a value unless it has one that matters; returns whether it got it.
   * @param {number} r
   * @param {bigint} value
   */
  want(r, value) {
    if (this.pinned[r]) return this.gpr[r] === value;
    this.gpr[r] = this.mode === 64 ? BigInt.asUintN(64, value) : BigInt.asUintN(32, value);
    this.pinned[r] = 1;
    return true;
  }

  /**
   * What register `r` has.
   * @param {number} r
   */
  reg(r) {
    return this.gpr[r] ?? 0n;
  }

  /**
   * Whether an instruction of a sequence may write register `r`.
   * @param {number} r
   */
  writable(r) {
    if (this.single) return true;
    return r !== RSP && r !== this.small && r !== this.counter && !this.pointers.includes(r);
  }

  /**
   * Room of `length` bytes in the blob for memory at `address`: its place in the blob, or -1.
   * @param {number} address
   * @param {number} length
   */
  patchAt(address, length) {
    const offset = imageOffset(address);
    if (offset < 0 || this.patches.length >= MAX_PATCHES) return -1;
    let n = Math.min(length, IMAGE_BYTES - offset, BLOB_BYTES - this.blobUsed);
    if (address < STACK_AT) n = Math.min(n, RO_AT + PAGE - address);
    if (n <= 0) return -1;
    const at = this.blobUsed;
    this.patches.push({ offset, length: n, blobAt: at });
    this.blobUsed += n;
    return at;
  }

  /**
   * Fills memory with operand values of `kind` (see values.mjs).
   * @param {number} address
   * @param {number} length
   * @param {string} kind
   */
  patchKind(address, length, kind) {
    const at = this.patchAt(address, length);
    if (at >= 0) fill(this.rng, this.blobView, at, this.blobUsed - at, kind);
  }

  /**
   * Puts an integer of `bytes` bytes into memory, if there is room for all of it.
   * @param {number} address
   * @param {bigint | number} value
   * @param {number} bytes
   */
  patchInt(address, value, bytes) {
    const at = this.patchAt(address, bytes);
    if (at < 0 || this.blobUsed - at < bytes) return;
    for (let done = 0; done < bytes; done += 8) {
      putInt(
        this.blobView,
        at + done,
        BigInt.asUintN(64, BigInt(value) >> BigInt(8 * done)),
        Math.min(8, bytes - done),
      );
    }
  }

  /**
   * Fills memory with given bytes, as many as there is room for.
   * @param {number} address
   * @param {Uint8Array} bytes
   */
  patchBytes(address, bytes) {
    const at = this.patchAt(address, bytes.length);
    if (at >= 0) this.blob.set(bytes.subarray(0, this.blobUsed - at), at);
  }

  /** Moves the stack's top away from the ends of the stack, for instructions that read a lot of it. */
  centreStack() {
    const base = this.mode === 16 ? 0 : STACK_AT;
    this.gpr[RSP] = BigInt(base + 0x400 + this.rng.below(0x800));
  }

  /** Linear address of the stack's top. */
  stackTop() {
    if (this.mode === 16) return STACK_AT + Number((this.gpr[RSP] ?? 0n) & 0xffffn);
    return Number(this.gpr[RSP]);
  }

  /** A code address that holds INT3, not near the case's own code; an offset in 16-bit code. */
  landing() {
    for (;;) {
      const at = CODE_AT + this.rng.below(CODE_BYTES);
      if (at < this.codeAt - 16 || at > this.codeAt + 300)
        return this.mode === 16 ? at - CODE_AT : at;
    }
  }

  /** Random flags that a program can have: arithmetic ones, DF now and then, alignment checks in lone instructions. */
  chooseFlags() {
    const { rng } = this;
    this.rflags = 0x202 | (rng.u32() & 0x8d5) | (rng.chance(15) ? 0x400 : 0);
    if (this.single && rng.chance(20)) this.rflags |= 0x40000;
  }

  /**
   * x87, MMX and SSE state. `lanes`: kinds of XMM contents; `stack`: what ST registers hold; `control`:
   * whether control words matter; `masked`: x87 exceptions that stay masked.
   * @param {{ lanes: readonly string[], stack: string, control: boolean, masked: number }} choice
   */
  chooseFloats({ lanes, stack, control, masked }) {
    const { rng, fxView } = this;
    const masks = control && rng.chance(20) ? rng.below(64) | masked : 0x3f;
    let fcw = 0x340 | masks;
    if (control && rng.chance(50))
      fcw = (fcw & ~0xf00) | (rng.below(4) << 10) | (rng.pick([0, 2, 3, 3]) << 8);
    let fsw = 0;
    let tags = 0xff;
    if (stack !== "none") {
      fsw = (rng.below(8) << 11) | (rng.u32() & 0x4700) | (rng.chance(40) ? rng.below(128) : 0);
      if ((fsw & ~masks & 0x3f) !== 0) fsw = rng.chance(15) ? fsw | 0x8080 : fsw & ~0x3f;
      tags = rng.chance(60) ? 0xff : rng.chance(50) ? rng.below(256) : 0;
      // Most instructions want ST(0) full and a free place above it.
      if (tags !== 0xff && rng.chance(60)) tags |= 1 << ((fsw >> 11) & 7);
      if (tags === 0xff && rng.chance(50)) tags &= ~(1 << (((fsw >> 11) - 1) & 7));
    }
    if ((fsw & 0x3f & ~masks) === 0) fsw &= 0x7f7f;
    fxView.setUint16(0, fcw, true);
    fxView.setUint16(2, fsw, true);
    fxView.setUint8(4, tags);
    for (let i = 0; i < 8; i++) {
      const at = 32 + 16 * i;
      if (stack === "mmx") {
        fill(rng, fxView, at, 8, rng.pick(["i1", "i2", "i4", "i8"]));
        fxView.setUint16(at + 8, rng.chance(80) ? 0xffff : rng.below(0x10000), true);
      } else putF80(fxView, at, interestingF80(rng));
    }
    const sseMasks = control && rng.chance(20) ? rng.below(64) : 0x3f;
    let mxcsr = sseMasks << 7;
    if (control) {
      if (rng.chance(40)) mxcsr |= rng.below(4) << 13;
      if (rng.chance(12)) mxcsr |= 0x8000;
      if (rng.chance(12)) mxcsr |= 0x40;
      if (rng.chance(50)) mxcsr |= rng.below(64);
    }
    fxView.setUint32(24, mxcsr, true);
    fxView.setUint32(28, 0xffff, true);
    for (let i = 0; i < 16; i++) fill(rng, fxView, 160 + 16 * i, 16, rng.pick(lanes));
  }
}
