import { KvmInternalError } from "../../abi/kvm/index.js";
import { Exception } from "../../abi/x86/index.js";
import { gva, PAGE_SIZE } from "../../base/index.js";
import type { VcpuExit } from "../api/exits.js";
import type { VcpuState } from "../vcpu-state.js";

/** `aux` of the engine's exit. */
const Reason = {
  /** Code is in no memory. */
  CODE: 1,
  /** KVM's emulator does not know the instruction, whose operand is in no memory. */
  UNKNOWN: 3,
} as const;

/** KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES. */
const INSTRUCTION_BYTES = 1n;
/** @nolimit the architecture's */
const MAX_LENGTH = 15;
const NOP = 0x90;

/** AMD's exit code for a nested page fault, and its information for code that is nowhere. */
const VMEXIT_NPF = 0x400n;
const FETCH_OF_GUEST = 0x1_0000_0014n;
const READ_OF_GUEST = 0x1_0000_0004n;
const WRITE_OF_GUEST = 0x1_0000_0006n;

/** What the emulator has read of the instruction: up to the end of its page. */
function bytesAtRip(vcpu: VcpuState): Uint8Array {
  const physical = vcpu.engine.translate(gva(vcpu.linearRip()), "read", 0);
  if (physical === undefined) return new Uint8Array();
  const length = Math.min(PAGE_SIZE - (physical % PAGE_SIZE), MAX_LENGTH);
  return vcpu.env.access.read(physical, length) ?? new Uint8Array();
}

/** `emulation_failure` as `internal.data`: flags, the instruction when something of it is known, the exit. */
function dataOf(vcpu: VcpuState): bigint[] {
  const { address, aux, write } = vcpu.engine.exit;
  if (aux !== Reason.CODE && aux !== Reason.UNKNOWN) return [0n];
  const operand = write ? WRITE_OF_GUEST : READ_OF_GUEST;
  const access = aux === Reason.CODE ? FETCH_OF_GUEST : operand;
  const exit = [VMEXIT_NPF, access, BigInt(address), 0n, 0n];
  // Code that is missing from its first byte on is not known; else the page at `address` goes on with it.
  const isNowhere = aux === Reason.CODE && address % PAGE_SIZE !== 0;
  const bytes = isNowhere ? new Uint8Array() : bytesAtRip(vcpu);
  if (bytes.length === 0) return [0n, ...exit];
  const code = new Uint8Array(16).fill(NOP);
  code[0] = bytes.length;
  code.set(bytes, 1);
  const view = new DataView(code.buffer);
  return [INSTRUCTION_BYTES, view.getBigUint64(0, true), view.getBigUint64(8, true), ...exit];
}

/** @param aux the engine's reason */
function reasonInWords(aux: number): string {
  if (aux === Reason.CODE) return "it executes where there is no memory";
  if (aux === Reason.UNKNOWN)
    return "KVM does not emulate this instruction, whose operand is in no memory";
  return "one instruction makes too many accesses to devices";
}

/**
 * An instruction that cannot be executed. The guest gets #UD when the client runs it again all the same; user code gets
 * it at once.
 */
export function handleInternal(vcpu: VcpuState): "continue" | VcpuExit {
  const { engine } = vcpu;
  vcpu.queueException(Exception.UD, undefined);
  engine.dropReplay();
  if (engine.cpl !== 0) return "continue";
  return {
    kind: "internal-error",
    suberror: KvmInternalError.EMULATION,
    data: dataOf(vcpu),
    message: `${reasonInWords(engine.exit.aux)} (RIP 0x${engine.rip.toString(16)})`,
  };
}
