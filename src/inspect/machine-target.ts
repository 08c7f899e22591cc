import type { Clock } from "../ports/index.js";
import type { Machine } from "../vmm/machine/index.js";
import type { InspectTarget } from "./inspection.js";

/** A machine of this thread, for {@link Inspection}. */
export function machineTarget(
  machine: Pick<
    Machine,
    | "engineCounters"
    | "instructions"
    | "pause"
    | "reset"
    | "resume"
    | "setVcpuXenAttr"
    | "setXenAttr"
    | "state"
    | "view"
  > & { trace: Machine["trace"] },
  clock: Pick<Clock, "monotonicNs">,
): InspectTarget {
  return {
    inspected: "machine",
    clock,
    watch(ring) {
      machine.trace = ring?.source();
    },
    view(parts) {
      const { instructions, engineCounters: counters, state } = machine;
      return { state, vms: [{ vm: 0, ...machine.view(parts), instructions, counters }] };
    },
    setHvm: (_vm, attr) => machine.setXenAttr(attr),
    setVcpu: (_vm, vcpu, attr) => machine.setVcpuXenAttr(vcpu, attr),
    control(what) {
      if (machine.state === "ended") return;
      if (what === "pause") machine.pause();
      else if (what === "reset") machine.reset();
      else if (machine.state !== "running") machine.resume();
    },
  };
}
