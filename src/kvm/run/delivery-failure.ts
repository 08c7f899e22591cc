import { KvmInternalError } from "../../abi/kvm/index.js";
import type { VcpuExit } from "../api/exits.js";
import type { VcpuState } from "../vcpu-state.js";
import { isInterrupt } from "./in-flight.js";

/** AMD's exit code for a nested page fault, and its information: of the guest's own access, for writing. */
const VMEXIT_NPF = 0x400n;
const NPF_OF_GUEST = 0x1_0000_0004n;
const NPF_WRITE = 2n;

/** `aux` of an MMIO exit: the delivery of an event that no instruction asked for. */
const DELIVERY = 1;

/** Whether the access that has left the engine delivers an event. */
export function isDelivery({ engine }: VcpuState): boolean {
  return engine.exit.aux === DELIVERY || isInterrupt(engine.replayCode(), engine.longMode64);
}

/**
 * An event whose table or stack is in no memory: newer releases say so, older ones try for ever. The event waits for the
 * next run(), as its instruction does when it was one of that raises it anew.
 */
export function failDelivery(vcpu: VcpuState): VcpuExit {
  const { engine } = vcpu;
  const { address, write } = engine.exit;
  const event = engine.takeInjection();
  engine.dropReplay();
  if (event?.type === "nmi") vcpu.nmi.injected = true;
  else if (event?.type === "interrupt") vcpu.interrupts.queued = event.vector;
  else if (event !== undefined) vcpu.shownException.requeue(event.vector, event.errorCode);
  vcpu.tpr.eventRequested = true;
  const gpa = BigInt(address);
  const information = NPF_OF_GUEST | (write ? NPF_WRITE : 0n);
  return {
    kind: "internal-error",
    suberror: KvmInternalError.DELIVERY_EV,
    data: [gpa, VMEXIT_NPF, information, gpa, 0n],
    message: `an event's delivery reaches 0x${address.toString(16)}, where there is no memory`,
  };
}
