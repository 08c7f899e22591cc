/** Structures of `linux/kvm.h` about guest memory. Fields are documented there. */
import { array, pointer, struct, u8, u32, u64, union } from "../layout.js";

/** KVM_SET_USER_MEMORY_REGION. */
export const kvm_userspace_memory_region = struct("kvm_userspace_memory_region", {
  slot: u32,
  flags: u32,
  guest_phys_addr: u64,
  memory_size: u64,
  userspace_addr: u64,
});

/** KVM_SET_USER_MEMORY_REGION2. */
export const kvm_userspace_memory_region2 = struct("kvm_userspace_memory_region2", {
  slot: u32,
  flags: u32,
  guest_phys_addr: u64,
  memory_size: u64,
  userspace_addr: u64,
  guest_memfd_offset: u64,
  guest_memfd: u32,
  pad1: u32,
  pad2: array(u64, 14),
});

/** KVM_GET_DIRTY_LOG. */
export const kvm_dirty_log = struct("kvm_dirty_log", {
  slot: u32,
  padding1: u32,
  $bitmap: union({ dirty_bitmap: pointer, padding2: u64 }),
});

/** KVM_CLEAR_DIRTY_LOG. */
export const kvm_clear_dirty_log = struct("kvm_clear_dirty_log", {
  slot: u32,
  num_pages: u32,
  first_page: u64,
  $bitmap: union({ dirty_bitmap: pointer, padding2: u64 }),
});

/** An entry of a dirty ring. */
export const kvm_dirty_gfn = struct("kvm_dirty_gfn", { flags: u32, slot: u32, offset: u64 });

/** KVM_REGISTER_COALESCED_MMIO, KVM_UNREGISTER_COALESCED_MMIO. */
export const kvm_coalesced_mmio_zone = struct("kvm_coalesced_mmio_zone", {
  addr: u64,
  size: u32,
  $kind: union({ pad: u32, pio: u32 }),
});

/** An access in {@link kvm_coalesced_mmio_ring}. */
export const kvm_coalesced_mmio = struct("kvm_coalesced_mmio", {
  phys_addr: u64,
  len: u32,
  $kind: union({ pad: u32, pio: u32 }),
  data: array(u8, 8),
});

/** Head of the ring page (page 2 of a vCPU's mapping); `coalesced_mmio` elements follow. */
export const kvm_coalesced_mmio_ring = struct("kvm_coalesced_mmio_ring", {
  first: u32,
  last: u32,
  coalesced_mmio: array(kvm_coalesced_mmio, 0),
});

/** KVM_SET_MEMORY_ATTRIBUTES. */
export const kvm_memory_attributes = struct("kvm_memory_attributes", {
  address: u64,
  size: u64,
  attributes: u64,
  flags: u64,
});

/** KVM_CREATE_GUEST_MEMFD. */
export const kvm_create_guest_memfd = struct("kvm_create_guest_memfd", {
  size: u64,
  flags: u64,
  reserved: array(u64, 6),
});

/** KVM_PRE_FAULT_MEMORY. */
export const kvm_pre_fault_memory = struct("kvm_pre_fault_memory", {
  gpa: u64,
  size: u64,
  flags: u64,
  padding: array(u64, 5),
});

/** KVM_MEMORY_ENCRYPT_REG_REGION and UNREG_REGION. */
export const kvm_enc_region = struct("kvm_enc_region", { addr: u64, size: u64 });
