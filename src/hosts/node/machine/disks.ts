/** Disks of a machine as its devices. */
import type { Disk } from "../../../ports/index.js";
import { BlockBackend } from "../../../vmm/machine/index.js";
import { HeapTimers, PacedDisk } from "../../sim/index.js";
import type { TimePorts } from "./time-ports.js";

/** The device for a disk that the guest calls `name`. Under the virtual clock, disks have virtual times. */
export function blockBackend(
  { name, disk }: { readonly name: string; readonly disk: Disk },
  { clock, timers }: TimePorts,
): BlockBackend {
  const isVirtual = timers instanceof HeapTimers;
  return new BlockBackend(name, isVirtual ? new PacedDisk(disk, clock, timers) : disk);
}
