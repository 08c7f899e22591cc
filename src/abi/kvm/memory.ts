/** Flags of `struct kvm_userspace_memory_region`. */
export const KvmMem = {
  LOG_DIRTY_PAGES: 1 << 0,
  READONLY: 1 << 1,
} as const;

/** `struct kvm_userspace_memory_region`. */
export interface KvmUserspaceMemoryRegion {
  /** Slot number in bits 15:0, address space (0) in 31:16. */
  readonly slot: number;
  /** {@link KvmMem} bits. */
  readonly flags: number;
  /** Guest-physical start, a multiple of 4096. */
  readonly guestPhysAddr: number;
  /** Bytes, a multiple of 4096; 0 deletes the slot. */
  readonly memorySize: number;
  /** Where the memory is: an offset in the VM's linear memory, a multiple of 4096. */
  readonly userspaceAddr: number;
}
