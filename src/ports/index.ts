/** The world outside a VM, as interfaces. `hosts/` implements them. */
export type { ArmLater, Clock, TimerHandle, Timers } from "./clock.js";
export type { Disk, DiskDone, DiskFailure } from "./disk.js";
export { type Frame, MAX_FRAME, type Network, type NetworkOffers } from "./network.js";
export type { ByteStream, Entropy, Log } from "./streams.js";
export { TraceBy, type TraceRegisters, type TraceSink, TraceTarget } from "./trace.js";
