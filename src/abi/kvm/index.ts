/** Names, numbers and structures of `linux/kvm.h`. */
export * from "./cap.js";
export * from "./exit.js";
export * from "./irq.js";
export * from "./memory.js";
export * from "./state.js";
export * from "./xen.js";
