import { KvmInternalError } from "../../abi/kvm/index.js";
import { Exception } from "../../abi/x86/index.js";
import { gva, PAGE_SIZE } from "../../base/index.js";
import type { VcpuExit } from "../exits.js";
import type { VcpuState } from "../vcpu-state.js";

/** `aux` of the engine's exit: code is in no memory. Else an instruction makes too many accesses. */
const CODE = 1;

/** KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES. */
const INSTRUCTION_BYTES = 1n;
/** @nolimit the architecture's */
const MAX_LENGTH = 15;
const NOP = 0x90;

/** AMD's exit code for a nested page fault, and its information for code that is nowhere. */
const VMEXIT_NPF = 0x400n;
const FETCH_OF_GUEST = 0x1_0000_0014n;

/** Bytes of an instruction before the page at `missing`, in which it goes on. */
function bytesBefore(vcpu: VcpuState, missing: number): Uint8Array {
  const rip = vcpu.linearRip();
  const physical = vcpu.engine.translate(gva(rip), "read", 0);
  if (physical === undefined || missing % PAGE_SIZE !== 0) return new Uint8Array();
  const length = Math.min(PAGE_SIZE - (physical % PAGE_SIZE), MAX_LENGTH);
  return vcpu.env.access.read(physical, length) ?? new Uint8Array();
}

/** `emulation_failure` as `internal.data`: flags, the instruction when something of it is known, the exit. */
function dataOf(vcpu: VcpuState): bigint[] {
  const { address, aux } = vcpu.engine.exit;
  if (aux !== CODE) return [0n];
  const exit = [VMEXIT_NPF, FETCH_OF_GUEST, BigInt(address), 0n, 0n];
  const bytes = bytesBefore(vcpu, address);
  if (bytes.length === 0) return [0n, ...exit];
  const code = new Uint8Array(16).fill(NOP);
  code[0] = bytes.length;
  code.set(bytes, 1);
  const view = new DataView(code.buffer);
  return [INSTRUCTION_BYTES, view.getBigUint64(0, true), view.getBigUint64(8, true), ...exit];
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
  const inDevice = engine.exit.aux === CODE;
  const reason = inDevice
    ? "it executes where there is no memory"
    : "one instruction makes too many accesses to devices";
  return {
    kind: "internal-error",
    suberror: KvmInternalError.EMULATION,
    data: dataOf(vcpu),
    message: `${reason} (RIP 0x${engine.rip.toString(16)})`,
  };
}
