/** All structures of `linux/kvm.h`, `asm/kvm.h` and `asm/kvm_para.h` for x86, under the headers' names. */
export * from "./structs-irq.js";
export * from "./structs-memory.js";
export * from "./structs-para.js";
export * from "./structs-run.js";
export * from "./structs-vcpu.js";
export * from "./structs-vm.js";
export * from "./structs-xen.js";
