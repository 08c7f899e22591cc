import type { VcpuExit } from "../api/exits.js";
import type { InFlight } from "./in-flight.js";
import type { StringInput } from "./string-input.js";

/** The exit that a vCPU has left run() with, and what the next run() completes of its instruction. */
export class PendingExit {
  /** The exit whose completion the next run() performs. */
  exit: VcpuExit | undefined;
  /** Exits that follow it before the guest goes on: one instruction's other writes. */
  readonly followUps: VcpuExit[] = [];
  /** Its instruction, when the client wrote registers since. */
  inFlight: InFlight | undefined;
  /** The rest of what the client gave a REP INS. */
  stringInput: StringInput | undefined;
  /** Linear RIP at the last exit of the kinds io, mmio and xen. */
  rip = 0n;
  /** RIP of the IN or OUT of the last exit, until the guest is entered again: KVM for AMD knows where it goes on then. */
  portRip: bigint | undefined;
  /** The instruction that waits for the client's answer is one that KVM's emulator executes. */
  emulates = false;
  /** What the last hypercall of KVM's own leaves in `kvm_run.hypercall.ret`, until the client has heard. */
  hypercallResult: bigint | undefined;
}
