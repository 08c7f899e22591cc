/** Names, numbers and structures of `linux/kvm.h`. */
export * from "./cap.js";
export * from "./devices.js";
export * from "./exit.js";
export * from "./ioctl.js";
export * from "./irq.js";
export * from "./memory.js";
export * from "./state.js";
export * from "./structs.js";
export * from "./xen.js";
