/** Xen's CPUID leaves (`public/arch-x86/cpuid.h`), as offsets from the base leaf. */

/** Base leaf when no other hypervisor interface is offered. */
export const XEN_CPUID_FIRST_LEAF = 0x40000000;
/** "XenVMMXenVMM" in EBX, ECX, EDX. */
export const XEN_CPUID_SIGNATURE = [0x566e6558, 0x65584d4d, 0x4d4d566e] as const;

/** Bits of EAX of leaf base + 3, subleaf 0. */
export const XEN_CPUID_TSC_VTSC = 1 << 0;
export const XEN_CPUID_TSC_HOST_RELIABLE = 1 << 1;
export const XEN_CPUID_TSC_RDTSCP = 1 << 2;

/** Bits of EAX of leaf base + 4 (`XEN_HVM_CPUID_*`). */
export const XenHvmCpuid = {
  APIC_ACCESS_VIRT: 1 << 0,
  X2APIC_VIRT: 1 << 1,
  IOMMU_MAPPINGS: 1 << 2,
  /** EBX is the Xen vCPU id. */
  VCPU_ID_PRESENT: 1 << 3,
  /** ECX is the domain id. */
  DOMID_PRESENT: 1 << 4,
  EXT_DEST_ID: 1 << 5,
  /** HVMOP_set_evtchn_upcall_vector works. */
  UPCALL_VECTOR: 1 << 6,
} as const;
