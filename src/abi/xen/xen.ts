/** Names and numbers of Xen's `public/xen.h` and `public/features.h`. */

/** Hypercall numbers (`__HYPERVISOR_*`) that a HVM guest may see. */
export const Hypercall = {
  platform_op: 7,
  memory_op: 12,
  multicall: 13,
  set_timer_op: 15,
  xen_version: 17,
  console_io: 18,
  grant_table_op: 20,
  vm_assist: 21,
  vcpu_op: 24,
  mmuext_op: 26,
  sched_op: 29,
  event_channel_op: 32,
  physdev_op: 33,
  hvm_op: 34,
  sysctl: 35,
  domctl: 36,
  argo_op: 39,
  xenpmu_op: 40,
  dm_op: 41,
  hypfs_op: 42,
} as const;

/** Domain ids with a meaning of their own (`DOMID_*`). */
export const DOMID_FIRST_RESERVED = 0x7ff0;
export const DOMID_SELF = 0x7ff0;
export const DOMID_IO = 0x7ff1;
export const DOMID_XEN = 0x7ff2;
export const DOMID_INVALID = 0x7ff4;

/** Bits of XENVER_get_features submap 0 (`XENFEAT_*`). */
export const Xenfeat = {
  writable_page_tables: 0,
  writable_descriptor_tables: 1,
  auto_translated_physmap: 2,
  supervisor_mode_kernel: 3,
  pae_pgdir_above_4gb: 4,
  mmu_pt_update_preserve_ad: 5,
  highmem_assist: 6,
  gnttab_map_avail_bits: 7,
  hvm_callback_vector: 8,
  hvm_safe_pvclock: 9,
  hvm_pirqs: 10,
  dom0: 11,
  memory_op_vnode_supported: 13,
  not_direct_mapped: 16,
  runstate_phys_area: 18,
  vcpu_time_phys_area: 19,
} as const;

/** Virtual interrupts (`VIRQ_*`). */
export const Virq = {
  TIMER: 0,
  DEBUG: 1,
  CONSOLE: 2,
  DOM_EXC: 3,
  TBUF: 4,
  DEBUGGER: 6,
  XENOPROF: 7,
  CON_RING: 8,
  PCPU_STATE: 9,
  MEM_EVENT: 10,
  ARGO: 11,
  ENOMEM: 12,
  XENPMU: 13,
} as const;
/** A virq number is below this (`NR_VIRQS`). */
export const NR_VIRQS = 24;

const PER_VCPU_VIRQS: ReadonlySet<number> = new Set([
  Virq.TIMER,
  Virq.DEBUG,
  Virq.XENOPROF,
  Virq.XENPMU,
]);

/** Whether a virq belongs to the domain rather than to one vCPU (and is bound on vCPU 0 only). */
export const virqIsGlobal = (virq: number): boolean => !PER_VCPU_VIRQS.has(virq);

/** `cmd` of vm_assist. */
export const VMASST_CMD_enable = 0;
export const VMASST_CMD_disable = 1;
/** `type` of vm_assist: announce runstate updates by XEN_RUNSTATE_UPDATE. */
export const VMASST_TYPE_runstate_update_flag = 5;

/** `cmd` of console_io. */
export const CONSOLEIO_write = 0;
export const CONSOLEIO_read = 1;
