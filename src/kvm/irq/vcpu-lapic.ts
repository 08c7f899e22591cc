/** A vCPU's local APIC, and what it tells the vCPU. */
import type { VcpuState } from "../vcpu-state.js";
import { Quirk } from "../vm-settings.js";
import { eoiSuppression } from "./eoi-suppression.js";
import { Lapic } from "./lapic.js";

/** Makes the local APIC of a vCPU. `look` is called when something may have ended a wait of the vCPU. */
export function lapicOf(vcpu: VcpuState, look: () => void): Lapic {
  const { env } = vcpu;
  return new Lapic(
    vcpu.id,
    {
      bus: env.bus,
      time: {
        timers: env.clock.timers,
        nowNs: () => env.clock.nowNs(),
        tscToNs: (tsc) => Number(tsc - BigInt.asIntN(64, vcpu.engine.tscOffset)),
      },
      notify: () => look(),
      raiseNmi: () => vcpu.raiseNmi(),
      unhalt: () => {
        vcpu.mp.unhalted = true;
        vcpu.notify();
      },
      raiseInit: (vector) => {
        if (vector === undefined) {
          // A STARTUP message that waits is forgotten.
          vcpu.mp.initPending = true;
          vcpu.mp.sipiPending = false;
        } else {
          vcpu.mp.sipiPending = true;
          vcpu.mp.sipiVector = vector;
        }
        env.scheduler.wake();
      },
      tprChanged: (tpr) => {
        vcpu.engine.cr8 = tpr >> 4;
      },
      levelEoi: (vector) => {
        if (env.ioapic !== undefined) env.ioapic.endOfInterrupt(vector);
        else vcpu.ioapicEoi = vector;
      },
      tprAccessed: (isWrite) => vcpu.tpr.accessed(vcpu.engine.rip, isWrite),
      requestEvent: () => {
        vcpu.tpr.eventRequested = true;
      },
      wasReset: () => vcpu.tpr.reset(),
      softwareEnabled: () => vcpu.xen.lapicEnabled(),
    },
    {
      bsp: vcpu.isBsp,
      suppression: eoiSuppression(env, vcpu.cpuid),
      lint0Open: env.settings.hasQuirk(Quirk.LINT0_REENABLED),
      busCycleNs: env.settings.apicBusCycleNs,
    },
  );
}
