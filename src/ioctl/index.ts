/** KVM's binary interface: ioctls with C structures, on the typed objects of the library. */
export type { ClientProcess } from "./client-process.js";
export type { KvmFile } from "./file.js";
export { LocalProcess } from "./local-process.js";
export { openKvm } from "./system-file.js";
