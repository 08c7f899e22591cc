/** Names and numbers of the x86 architecture. */
export * from "./apic.js";
export * from "./control.js";
export * from "./cpuid.js";
export * from "./fpstate.js";
export * from "./msr.js";
