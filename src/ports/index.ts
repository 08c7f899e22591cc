/** The world outside a VM, as interfaces. `hosts/` implements them. */
export type { ArmLater, Clock, TimerHandle, Timers } from "./clock.js";
export type {
  Disk,
  DiskChanges,
  DiskDone,
  DiskFailure,
  DiskRun,
  KeptDisk,
  KeptOperation,
} from "./disk.js";
export {
  type Frame,
  type KeptRecord,
  MAX_FRAME,
  type Network,
  type NetworkOffers,
} from "./network.js";
export type { ByteStream, Entropy, Log } from "./streams.js";
export { TraceBy, type TraceRegisters, type TraceSink, TraceTarget } from "./trace.js";
