import { Gpr, Rflags } from "../../abi/x86/index.js";
import { gva, PAGE_SIZE } from "../../base/index.js";
import { SegmentIndex } from "../../engine/bridge/port.js";
import type { VcpuState } from "../vcpu-state.js";

/**
 * Bytes that KVM asks the client for at once.
 * @limit guest | bytes that one exit for a string input asks for | bytes | the rest is the next exit, as
 *   Linux
 */
const MAX_BYTES = 1024;

/** Prefixes: operand size, address size, segments; and the two that repeat. */
const ADDRESS_SIZE = 0x67;
const PREFIXES = new Set([0x66, ADDRESS_SIZE, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]);
const REPEATS = new Set([0xf2, 0xf3]);
/** INSB, and INSW or INSD. */
const INS = new Set([0x6c, 0x6d]);
/** @nolimit the architecture's */
const MAX_LENGTH = 15;

const NOT_REPEATED = { repeats: false, mask: 0n } as const;

/** Elements of a REP INS that the client gave with one exit, for the iterations to come. */
export interface StringInput {
  /** Bytes of an element. */
  readonly size: number;
  /** Bits of RCX that count. */
  readonly mask: bigint;
  readonly data: Uint8Array;
  /** Bytes used so far. */
  used: number;
}

/** Whether the instruction at `rip` is REP INS, and with which part of RCX it counts. */
function instructionAt(
  vcpu: VcpuState,
  rip: bigint,
): { readonly repeats: boolean; readonly mask: bigint } {
  const { engine } = vcpu;
  const long = engine.longMode64;
  const wide = long || engine.segment(SegmentIndex.CS).db;
  let repeats = false;
  let short = false;
  for (let i = 0n; i < MAX_LENGTH; i++) {
    const physical = engine.translate(gva(rip + i), "read", 0);
    const byte = physical === undefined ? undefined : vcpu.env.access.read(physical, 1)?.[0];
    if (byte === undefined) return NOT_REPEATED;
    if (REPEATS.has(byte)) repeats = true;
    else if (byte === ADDRESS_SIZE) short = true;
    else if (!PREFIXES.has(byte) && !(long && byte >>> 4 === 4)) {
      if (!repeats || !INS.has(byte)) return NOT_REPEATED;
      break;
    }
  }
  if (long) return { repeats, mask: short ? 0xffffffffn : 0xffff_ffff_ffff_ffffn };
  return { repeats, mask: wide !== short ? 0xffffffffn : 0xffffn };
}

/**
 * An IN or INS wants input from the client: how many elements to ask for. As KVM asks: for a REP INS
 * all that are left, but no more than there are bytes to the border of the page in RDI, and at most
 * 1024 bytes.
 */
export function askForInput(vcpu: VcpuState, rip: bigint, size: number): Uint8Array {
  vcpu.pending.stringInput = undefined;
  const { repeats, mask } = instructionAt(vcpu, rip);
  if (!repeats) return new Uint8Array(size);
  const { engine } = vcpu;
  const left = engine.gpr(Gpr.RCX) & mask;
  const offset = Number(engine.gpr(Gpr.RDI) & 0xfffn);
  const inPage = (engine.rflags & Rflags.DF) !== 0n ? offset : PAGE_SIZE - offset;
  const most = Math.min(inPage, MAX_BYTES / size);
  const count = Math.max(1, left < BigInt(most) ? Number(left) : most);
  const data = new Uint8Array(count * size);
  if (count > 1) vcpu.pending.stringInput = { size, mask, data, used: 0 };
  return data;
}

/** An element was used; the last one, or the last that RCX counts, ends the rest. */
export function usedInput(vcpu: VcpuState): void {
  const input = vcpu.pending.stringInput;
  if (input === undefined) return;
  input.used += input.size;
  const isLast = (vcpu.engine.gpr(Gpr.RCX) & input.mask) === 1n;
  if (isLast || input.used >= input.data.length) vcpu.pending.stringInput = undefined;
}

/** The next element that the client gave already, undefined when there is none. */
export function takeInput(vcpu: VcpuState): number | undefined {
  const input = vcpu.pending.stringInput;
  if (input === undefined) return undefined;
  let value = 0;
  for (let i = 0; i < input.size; i++) {
    value |= (input.data[input.used + i] as number) << (i * 8);
  }
  usedInput(vcpu);
  return value >>> 0;
}
