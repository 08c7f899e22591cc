/** Machines: what the command line and programs use. */
export { type BootModule, MAX_MODULES } from "../loader/boot.js";
export { type BootFiles, readBootFiles } from "../loader/disk/boot-files.js";
export { LoadErrorCode, type LoadErrorCodeName } from "../loader/errors.js";
export type { SnapshotSink, SnapshotSource } from "../snapshot/file.js";
export type { Backend, DeviceIdentity, DeviceStatus, SavedValue } from "../xen/backends/backend.js";
export { BlockBackend } from "../xen/backends/block/block-backend.js";
export { diskIndex, diskName, MAX_DISKS } from "../xen/backends/block/vdev.js";
export {
  ConsoleBackend,
  type ConsoleOptions,
  MAX_CONSOLE_NUMBER,
} from "../xen/backends/console/console-backend.js";
export { checkMac, MAX_CARDS, randomMac } from "../xen/backends/net/mac.js";
export { NetBackend } from "../xen/backends/net/net-backend.js";
export type { BackendHost } from "../xen/interfaces.js";
export type * from "../xen/view.js";
export { consoleCommandLine } from "./command-line.js";
export {
  type BootConfig,
  checkConfig,
  type KvmPorts,
  MAX_CPUS,
  type MachineConfig,
  type MachineEnd,
  type MachinePorts,
  type RestoreConfig,
} from "./config.js";
export { type DebugListener, DebugTarget } from "./debug-target.js";
export type { ExecOptions, ExecResult } from "./exec/running-command.js";
export { Machine, type MachineView } from "./machine.js";
export {
  type SavedDevice,
  SavedMachine,
  type SaveOptions,
  Snapshot,
  type SnapshotOptions,
} from "./snapshot.js";
