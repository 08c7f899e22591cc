/** Machines on Node, and the ports of which they are made, for programs that use kvm-xen as a library. */
export { HostError } from "../../base/index.js";
export type { DecodePath, Engine, EngineOptions } from "../../engine/bridge/index.js";
export type * from "../../ports/index.js";
export {
  consoleCommandLine,
  type ExecOptions,
  type ExecResult,
  Machine,
  type MachineEnd,
  type SavedDevice,
  type SavedMachine,
  type Snapshot,
} from "../../vmm/machine/index.js";
export { NodeClock } from "./clock.js";
export { StandardConsole } from "./console.js";
export { nodeDecompressors } from "./decompress.js";
export { nodeEntropy } from "./entropy.js";
export { agentPath } from "./guest-initramfs.js";
export { type LogOutput, StandardErrorLog } from "./log.js";
export { CardOpener, type CardPorts, type NetOption } from "./machine/cards.js";
export { openConsolePort, openConsolePorts, type PortOption } from "./machine/console-ports.js";
export {
  createMachine,
  type DiskChoice,
  type MachineDescription,
  savedNetworks,
} from "./machine/create-machine.js";
export { debianGuest, type GuestFiles } from "./machine/debian.js";
export { blockBackend } from "./machine/disks.js";
export { loadEngine } from "./machine/load-engine.js";
export { openSnapshotFile, writeSnapshotFile } from "./machine/snapshot-file.js";
export { TextConsole } from "./machine/text-console.js";
export { type ClockChoice, engineSeed, type TimePorts, timePorts } from "./machine/time-ports.js";
export {
  openTapNetwork,
  openUserNetwork,
  type UserForward,
  type UserNetworkOptions,
} from "./network/network-thread.js";
export { openPasstNetwork } from "./network/passt.js";
export { openSocketNetwork } from "./network/socket-network.js";
export { type DiskOptions, openDisk } from "./open-disk.js";
export { packageFile } from "./package-file.js";
export { NodeTimers } from "./timers.js";
