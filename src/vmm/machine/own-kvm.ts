/** The one place that knows which KVM a machine drives when it is told of no other. */
import type { KvmApi } from "../../kvm/api/index.js";
import { Kvm } from "../../kvm/index.js";
import type { MachinePorts } from "./config.js";

/** Opens the KVM of a machine. */
export function openKvm({ kvm, engine, clock, timers, loop }: MachinePorts): Promise<KvmApi> {
  const ports = { engine, clock, timers, ...(loop === undefined ? {} : { loop }) };
  return kvm === undefined ? Kvm.open(ports) : kvm(ports);
}
