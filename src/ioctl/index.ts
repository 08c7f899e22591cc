/**
 * KVM's binary interface: ioctls with C structures, on the typed objects of the library; and the other side of it, a
 * program that drives KVM by them.
 */
export type { KvmDoor } from "./client/door.js";
export { MappedProcess } from "./client/memory.js";
export { IoctlKvm, type IoctlKvmParts, openKvmByIoctls } from "./client/system.js";
export type { VmSide } from "./client/vm.js";
export type { ClientProcess } from "./client-process.js";
export type { KvmFile } from "./file.js";
export { LocalProcess } from "./local-process.js";
export { openKvm } from "./system-file.js";
