import { Exception } from "../../abi/x86/index.js";
import { gva, PAGE_SIZE } from "../../base/index.js";
import type { VcpuState } from "../vcpu-state.js";

const INT3 = 0xcc;
const INT_N = 0xcd;
const INTO = 0xce;
/** @nolimit the architecture's */
const MAX_LENGTH = 15;

/** Prefixes: segments, operand and address size, LOCK, REPNE, REP; REX in 64-bit code. */
const LEGACY_PREFIXES = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3];

/** IN and OUT: with a port in the instruction, or in DX. */
const IO_IMMEDIATE = 0xe4;
const IO_DX = 0xec;
/** Without the bits for direction and size. */
const IO_KIND = 0xfc;

/** The instruction at RIP, or another place, as far as it is in memory. */
function codeAt(vcpu: VcpuState, at = vcpu.engine.rip): Uint8Array {
  const code = new Uint8Array(MAX_LENGTH);
  const rip = BigInt.asUintN(64, vcpu.linearRip() + at - vcpu.engine.rip);
  for (let have = 0; have < MAX_LENGTH; ) {
    const physical = vcpu.engine.translate(gva(rip + BigInt(have)), "fetch");
    if (physical === undefined) return code.subarray(0, have);
    const length = Math.min(PAGE_SIZE - (physical % PAGE_SIZE), MAX_LENGTH - have);
    const bytes = vcpu.env.access.read(physical, length);
    if (bytes === undefined) return code.subarray(0, have);
    code.set(bytes, have);
    have += length;
  }
  return code;
}

/** Prefixes at the beginning of an instruction. */
function prefixesOf(code: Uint8Array, is64: boolean): number {
  const count = code.findIndex(
    (byte) => !LEGACY_PREFIXES.includes(byte) && !(is64 && byte >= 0x40 && byte <= 0x4f),
  );
  return count < 0 ? code.length : count;
}

/** Bytes of the IN or OUT at an address; 0 when there is none any more. */
function portLength(vcpu: VcpuState, at: bigint): number {
  const code = codeAt(vcpu, at);
  const prefixes = prefixesOf(code, vcpu.engine.longMode64);
  const kind = (code[prefixes] ?? 0) & IO_KIND;
  if (kind === IO_IMMEDIATE) return prefixes + 2;
  return kind === IO_DX ? prefixes + 1 : 0;
}

/**
 * #BP and #OF are those of an instruction, whoever injects them, and so is an interrupt that the client calls one of INT n:
 * their handler returns behind it. KVM for AMD decodes the instruction at RIP to find where that is
 * (svm_update_soft_interrupt_rip); where it is not the one that raises this vector, it forgets the event. A debugger that gives the guest's own INT3 back depends on it.
 * Behind an exit for a port it knows that place already, the one behind IN or OUT, wherever RIP is since.
 * @returns whether the event is to be delivered; RIP is behind the instruction then.
 */
export function isBehindInstruction(vcpu: VcpuState, vector: number): boolean {
  const { engine } = vcpu;
  const { portRip } = vcpu.pending;
  const is64 = engine.longMode64;
  if (portRip !== undefined) {
    engine.rip = BigInt.asUintN(is64 ? 64 : 32, portRip + BigInt(portLength(vcpu, portRip)));
    return true;
  }
  const code = codeAt(vcpu);
  let at = prefixesOf(code, is64);
  const raises = () => {
    switch (code[at++]) {
      case INT3:
        return vector === Exception.BP;
      case INT_N:
        return vector === code[at++];
      case INTO:
        return vector === Exception.OF && !is64;
      default:
        return false;
    }
  };
  if (!raises()) return false;
  engine.rip = BigInt.asUintN(is64 ? 64 : 32, engine.rip + BigInt(at));
  return true;
}
