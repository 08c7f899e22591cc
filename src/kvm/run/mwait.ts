import { Exception } from "../../abi/x86/index.js";
import type { VcpuState } from "../vcpu-state.js";
import { DisableExits, Quirk } from "../vm-settings.js";

const MWAIT = 1;

/** Whether MONITOR and MWAIT do nothing, as KVM executes them, rather than raise #UD. */
function exists(vcpu: VcpuState): boolean {
  const { settings } = vcpu.env;
  // KVM then lets the processor execute them, which has them whatever CPUID tells the guest.
  if ((settings.disabledExits & DisableExits.MWAIT) !== 0) return true;
  if (settings.hasQuirk(Quirk.MWAIT_NEVER_UD_FAULTS)) return true;
  if (settings.hasQuirk(Quirk.MISC_ENABLE_NO_MWAIT)) return vcpu.cpuid.hasMonitor;
  return vcpu.msrs.monitorEnabled;
}

/**
 * MONITOR or MWAIT. A wait may end at any time, so the one that ends at once is right even where KVM
 * lets the processor wait; others get their turn, since a guest that waits comes again soon.
 */
export function handleMwait(vcpu: VcpuState): "continue" | "yield" {
  if (!exists(vcpu)) {
    vcpu.queueException(Exception.UD, undefined);
    return "continue";
  }
  const waits = vcpu.engine.exit.aux === MWAIT;
  vcpu.engine.skipInstruction(vcpu.engine.exit.size);
  return waits ? "yield" : "continue";
}
