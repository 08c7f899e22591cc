import { KvmGuestDbg } from "../abi/kvm/devices.js";
import type { VcpuExitDebug } from "../kvm/index.js";
import type { DebugTarget } from "../vmm/machine/index.js";

/** What a breakpoint of the processor stops at: its R/W bits in DR7. */
const KINDS = { hbreak: 0, watch: 1, rwatch: 3, awatch: 3 } as const;
/** By gdb's number in `Z`. x86 cannot watch reads alone. */
const BY_NUMBER = ["break", "hbreak", "watch", "rwatch", "awatch"] as const;

/** A kind of breakpoint. */
export type BreakpointKind = (typeof BY_NUMBER)[number];

/** LEN bits of DR7 by length in bytes. */
const LENGTHS: Readonly<Record<number, number>> = { 1: 0, 2: 1, 4: 3, 8: 2 };

/**
 * Breakpoints in memory.
 * @limit client | gdb's breakpoints in the guest's memory | breakpoints | the next one is refused
 */
const MAX_SOFTWARE = 1024;
/** Debug registers. @nolimit the architecture has four */
const MAX_HARDWARE = 4;

const INT3 = 0xcc;
const DR7_EXACT = 0x700n;

interface Hardware {
  readonly kind: Exclude<BreakpointKind, "break">;
  readonly address: bigint;
  readonly length: number;
}

/** Why a vCPU stopped. */
export type Cause =
  | { readonly kind: "break" | "hbreak" | "step" }
  | { readonly kind: "watch" | "rwatch" | "awatch"; readonly address: bigint }
  /** The guest's own INT3, or own breakpoint: it is to have it. */
  | { readonly kind: "own"; readonly vector: number };

/** The kind that gdb means with a number. */
export const kindOf = (number: number): BreakpointKind | undefined => BY_NUMBER[number];

/** Breakpoints of a debugger: INT3 written into memory, and the four of the processor. */
export class Breakpoints {
  readonly #target: DebugTarget;
  /** The byte that was there, by address. */
  readonly #software = new Map<bigint, number>();
  readonly #hardware: Hardware[] = [];

  constructor(target: DebugTarget) {
    this.#target = target;
  }

  /** Sets one. False when that cannot be: no memory there, an odd length, no register free. */
  insert(kind: BreakpointKind, address: bigint, length: number, cpu: number): boolean {
    if (kind !== "break") return this.#insertHardware({ kind, address, length });
    if (this.#software.has(address)) return true;
    const [byte] = this.#target.read(cpu, address, 1);
    if (byte === undefined || this.#software.size >= MAX_SOFTWARE) return false;
    if (!this.#target.write(cpu, address, Uint8Array.of(INT3))) return false;
    this.#software.set(address, byte);
    return true;
  }

  #insertHardware(one: Hardware): boolean {
    const { kind, address, length } = one;
    const size = kind === "hbreak" ? 1 : length;
    if (LENGTHS[size] === undefined || address % BigInt(size) !== 0n) return false;
    if (this.#find(one) >= 0) return true;
    if (this.#hardware.length >= MAX_HARDWARE) return false;
    this.#hardware.push({ kind, address, length: size });
    return true;
  }

  #find({ kind, address, length }: Hardware): number {
    const size = kind === "hbreak" ? 1 : length;
    return this.#hardware.findIndex(
      (one) => one.kind === kind && one.address === address && one.length === size,
    );
  }

  /** Takes one away; one that is not there is fine. */
  remove(kind: BreakpointKind, address: bigint, length: number, cpu: number): void {
    if (kind !== "break") {
      const at = this.#find({ kind, address, length });
      if (at >= 0) this.#hardware.splice(at, 1);
      return;
    }
    const byte = this.#software.get(address);
    if (byte === undefined) return;
    this.#software.delete(address);
    // The guest may have written there meanwhile: then it is the guest's.
    if (this.#target.read(cpu, address, 1)[0] !== INT3) return;
    this.#target.write(cpu, address, Uint8Array.of(byte));
  }

  /** Takes all away. */
  clear(cpu: number): void {
    for (const address of [...this.#software.keys()]) this.remove("break", address, 1, cpu);
    this.#hardware.length = 0;
  }

  /** The guest's memory is another one: what was written into it is gone. */
  forgetMemory(): void {
    this.#software.clear();
  }

  /** Memory as the guest would see it without breakpoints. */
  read(cpu: number, address: bigint, length: number): Uint8Array {
    const bytes = this.#target.read(cpu, address, length);
    for (const [at, byte] of this.#software) {
      const offset = at - address;
      if (offset < 0n || offset >= BigInt(bytes.length)) continue;
      if (bytes[Number(offset)] === INT3) bytes[Number(offset)] = byte;
    }
    return bytes;
  }

  /** Writes memory below breakpoints. */
  write(cpu: number, address: bigint, bytes: Uint8Array): boolean {
    const shown = bytes.slice();
    const kept: [bigint, number][] = [];
    for (const at of this.#software.keys()) {
      const offset = at - address;
      if (offset < 0n || offset >= BigInt(bytes.length)) continue;
      kept.push([at, bytes[Number(offset)] as number]);
      shown[Number(offset)] = INT3;
    }
    if (!this.#target.write(cpu, address, shown)) return false;
    for (const [at, byte] of kept) this.#software.set(at, byte);
    return true;
  }

  /** Puts them in force on a vCPU; `inject`: an exception that the guest is to have first, 1 or 3. */
  arm(cpu: number, step: boolean, inject?: number): void {
    const debugreg = [0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n];
    let dr7 = 0n;
    for (const [slot, { kind, address, length }] of this.#hardware.entries()) {
      debugreg[slot] = address;
      const bits = KINDS[kind] | ((LENGTHS[length] as number) << 2);
      dr7 |= (2n << BigInt(slot * 2)) | (BigInt(bits) << BigInt(16 + slot * 4));
    }
    debugreg[7] = dr7 === 0n ? 0n : dr7 | DR7_EXACT;
    let control = 0;
    // As QEMU: a step would lead into the next interrupt's handler as a rule.
    if (step) control |= KvmGuestDbg.SINGLESTEP | KvmGuestDbg.BLOCKIRQ;
    if (this.#software.size > 0) control |= KvmGuestDbg.USE_SW_BP;
    if (dr7 !== 0n) control |= KvmGuestDbg.USE_HW_BP;
    if (inject === 3) control |= KvmGuestDbg.INJECT_BP;
    if (inject === 1) control |= KvmGuestDbg.INJECT_DB;
    if (control !== 0) control |= KvmGuestDbg.ENABLE;
    this.#target.setGuestDebug(cpu, { control, debugreg });
  }

  /** What an exit stands for; `stepped`: a step was asked of that vCPU. */
  causeOf(exit: VcpuExitDebug, stepped: boolean): Cause {
    if (exit.exception === 3) {
      return this.#software.has(exit.pc) ? { kind: "break" } : { kind: "own", vector: 3 };
    }
    for (const [slot, { kind, address }] of this.#hardware.entries()) {
      if (((exit.dr6 >> BigInt(slot)) & 1n) === 0n) continue;
      return kind === "hbreak" ? { kind } : { kind, address };
    }
    return stepped ? { kind: "step" } : { kind: "own", vector: 1 };
  }
}
