/**
 * Numbers of KVM's ioctls on x86 (`linux/kvm.h`), computed from the structures as `asm-generic/ioctl.h`
 * does: direction in bits 31:30, size of the argument in 29:16, type in 15:8, number in 7:0.
 */
import * as k from "./structs.js";

/** The type byte of all KVM ioctls. */
export const KVMIO = 0xae;

/** `_IOC_*` directions. */
export const IocDir = { NONE: 0, WRITE: 1, READ: 2 } as const;

/** `_IOC`: an unsigned 32-bit number. */
export function ioc(dir: number, type: number, nr: number, size: number): number {
  return ((dir << 30) | (size << 16) | (type << 8) | nr) >>> 0;
}

/** `_IOC_SIZE`: bytes of the argument that a number names. */
export const iocSize = (request: number): number => (request >>> 16) & 0x3fff;

interface Sized {
  readonly size: number;
}
const U64: Sized = { size: 8 };

const types = new Map<number, Sized>();

function typed(dir: number, nr: number, type: Sized): number {
  const request = ioc(dir, KVMIO, nr, type.size);
  types.set(request, type);
  return request;
}

/** What the argument of an ioctl points to, for programs that print it; undefined for a value. */
export const ioctlArgument = (request: number): Sized | undefined => types.get(request >>> 0);

const io = (nr: number): number => ioc(IocDir.NONE, KVMIO, nr, 0);
const ior = (nr: number, type: Sized): number => typed(IocDir.READ, nr, type);
const iow = (nr: number, type: Sized): number => typed(IocDir.WRITE, nr, type);
const iowr = (nr: number, type: Sized): number => typed(IocDir.READ | IocDir.WRITE, nr, type);

// ioctls of /dev/kvm; some are answered by VMs and vCPUs too.
export const KVM_GET_API_VERSION = io(0x00);
export const KVM_CREATE_VM = io(0x01);
export const KVM_GET_MSR_INDEX_LIST = iowr(0x02, k.kvm_msr_list);
export const KVM_CHECK_EXTENSION = io(0x03);
export const KVM_GET_VCPU_MMAP_SIZE = io(0x04);
export const KVM_GET_SUPPORTED_CPUID = iowr(0x05, k.kvm_cpuid2);
export const KVM_GET_EMULATED_CPUID = iowr(0x09, k.kvm_cpuid2);
export const KVM_GET_MSR_FEATURE_INDEX_LIST = iowr(0x0a, k.kvm_msr_list);
export const KVM_X86_GET_MCE_CAP_SUPPORTED = ior(0x9d, U64);
export const KVM_GET_SUPPORTED_HV_CPUID = iowr(0xc1, k.kvm_cpuid2);

// ioctls of a VM.
export const KVM_CREATE_VCPU = io(0x41);
export const KVM_GET_DIRTY_LOG = iow(0x42, k.kvm_dirty_log);
export const KVM_SET_NR_MMU_PAGES = io(0x44);
export const KVM_GET_NR_MMU_PAGES = io(0x45);
export const KVM_SET_USER_MEMORY_REGION = iow(0x46, k.kvm_userspace_memory_region);
export const KVM_SET_TSS_ADDR = io(0x47);
export const KVM_SET_IDENTITY_MAP_ADDR = iow(0x48, U64);
export const KVM_SET_USER_MEMORY_REGION2 = iow(0x49, k.kvm_userspace_memory_region2);
export const KVM_CREATE_IRQCHIP = io(0x60);
export const KVM_IRQ_LINE = iow(0x61, k.kvm_irq_level);
export const KVM_GET_IRQCHIP = iowr(0x62, k.kvm_irqchip);
export const KVM_SET_IRQCHIP = ior(0x63, k.kvm_irqchip);
export const KVM_CREATE_PIT = io(0x64);
export const KVM_GET_PIT = iowr(0x65, k.kvm_pit_state);
export const KVM_SET_PIT = ior(0x66, k.kvm_pit_state);
export const KVM_IRQ_LINE_STATUS = iowr(0x67, k.kvm_irq_level);
export const KVM_REGISTER_COALESCED_MMIO = iow(0x67, k.kvm_coalesced_mmio_zone);
export const KVM_UNREGISTER_COALESCED_MMIO = iow(0x68, k.kvm_coalesced_mmio_zone);
export const KVM_SET_GSI_ROUTING = iow(0x6a, k.kvm_irq_routing);
export const KVM_REINJECT_CONTROL = io(0x71);
export const KVM_IRQFD = iow(0x76, k.kvm_irqfd);
export const KVM_CREATE_PIT2 = iow(0x77, k.kvm_pit_config);
export const KVM_SET_BOOT_CPU_ID = io(0x78);
export const KVM_IOEVENTFD = iow(0x79, k.kvm_ioeventfd);
export const KVM_XEN_HVM_CONFIG = iow(0x7a, k.kvm_xen_hvm_config);
export const KVM_SET_CLOCK = iow(0x7b, k.kvm_clock_data);
export const KVM_GET_CLOCK = ior(0x7c, k.kvm_clock_data);
export const KVM_GET_PIT2 = ior(0x9f, k.kvm_pit_state2);
export const KVM_SET_PIT2 = iow(0xa0, k.kvm_pit_state2);
export const KVM_SIGNAL_MSI = iow(0xa5, k.kvm_msi);
export const KVM_SET_PMU_EVENT_FILTER = iow(0xb2, k.kvm_pmu_event_filter);
export const KVM_MEMORY_ENCRYPT_OP = iowr(0xba, U64);
export const KVM_MEMORY_ENCRYPT_REG_REGION = ior(0xbb, k.kvm_enc_region);
export const KVM_MEMORY_ENCRYPT_UNREG_REGION = ior(0xbc, k.kvm_enc_region);
export const KVM_HYPERV_EVENTFD = iow(0xbd, k.kvm_hyperv_eventfd);
export const KVM_CLEAR_DIRTY_LOG = iowr(0xc0, k.kvm_clear_dirty_log);
export const KVM_X86_SET_MSR_FILTER = iow(0xc6, k.kvm_msr_filter);
export const KVM_RESET_DIRTY_RINGS = io(0xc7);
export const KVM_XEN_HVM_GET_ATTR = iowr(0xc8, k.kvm_xen_hvm_attr);
export const KVM_XEN_HVM_SET_ATTR = iow(0xc9, k.kvm_xen_hvm_attr);
export const KVM_XEN_HVM_EVTCHN_SEND = iow(0xd0, k.kvm_irq_routing_xen_evtchn);
export const KVM_SET_MEMORY_ATTRIBUTES = iow(0xd2, k.kvm_memory_attributes);
export const KVM_CREATE_GUEST_MEMFD = iowr(0xd4, k.kvm_create_guest_memfd);
export const KVM_CREATE_DEVICE = iowr(0xe0, k.kvm_create_device);

// ioctls of a vCPU.
export const KVM_RUN = io(0x80);
export const KVM_GET_REGS = ior(0x81, k.kvm_regs);
export const KVM_SET_REGS = iow(0x82, k.kvm_regs);
export const KVM_GET_SREGS = ior(0x83, k.kvm_sregs);
export const KVM_SET_SREGS = iow(0x84, k.kvm_sregs);
export const KVM_TRANSLATE = iowr(0x85, k.kvm_translation);
export const KVM_INTERRUPT = iow(0x86, k.kvm_interrupt);
export const KVM_GET_MSRS = iowr(0x88, k.kvm_msrs);
export const KVM_SET_MSRS = iow(0x89, k.kvm_msrs);
export const KVM_SET_CPUID = iow(0x8a, k.kvm_cpuid);
export const KVM_SET_SIGNAL_MASK = iow(0x8b, k.kvm_signal_mask);
export const KVM_GET_FPU = ior(0x8c, k.kvm_fpu);
export const KVM_SET_FPU = iow(0x8d, k.kvm_fpu);
export const KVM_GET_LAPIC = ior(0x8e, k.kvm_lapic_state);
export const KVM_SET_LAPIC = iow(0x8f, k.kvm_lapic_state);
export const KVM_SET_CPUID2 = iow(0x90, k.kvm_cpuid2);
export const KVM_GET_CPUID2 = iowr(0x91, k.kvm_cpuid2);
export const KVM_TPR_ACCESS_REPORTING = iowr(0x92, k.kvm_tpr_access_ctl);
export const KVM_SET_VAPIC_ADDR = iow(0x93, k.kvm_vapic_addr);
export const KVM_GET_MP_STATE = ior(0x98, k.kvm_mp_state);
export const KVM_SET_MP_STATE = iow(0x99, k.kvm_mp_state);
export const KVM_NMI = io(0x9a);
export const KVM_SET_GUEST_DEBUG = iow(0x9b, k.kvm_guest_debug);
export const KVM_X86_SETUP_MCE = iow(0x9c, U64);
export const KVM_X86_SET_MCE = iow(0x9e, k.kvm_x86_mce);
export const KVM_GET_VCPU_EVENTS = ior(0x9f, k.kvm_vcpu_events);
export const KVM_SET_VCPU_EVENTS = iow(0xa0, k.kvm_vcpu_events);
export const KVM_GET_DEBUGREGS = ior(0xa1, k.kvm_debugregs);
export const KVM_SET_DEBUGREGS = iow(0xa2, k.kvm_debugregs);
/** Of VMs too. */
export const KVM_SET_TSC_KHZ = io(0xa2);
/** Of VMs too. */
export const KVM_GET_TSC_KHZ = io(0xa3);
/** Of VMs too. */
export const KVM_ENABLE_CAP = iow(0xa3, k.kvm_enable_cap);
export const KVM_GET_XSAVE = ior(0xa4, k.kvm_xsave);
export const KVM_SET_XSAVE = iow(0xa5, k.kvm_xsave);
export const KVM_GET_XCRS = ior(0xa6, k.kvm_xcrs);
export const KVM_SET_XCRS = iow(0xa7, k.kvm_xcrs);
export const KVM_GET_ONE_REG = iow(0xab, k.kvm_one_reg);
export const KVM_SET_ONE_REG = iow(0xac, k.kvm_one_reg);
export const KVM_KVMCLOCK_CTRL = io(0xad);
export const KVM_GET_REG_LIST = iowr(0xb0, k.kvm_reg_list);
export const KVM_SMI = io(0xb7);
export const KVM_GET_NESTED_STATE = iowr(0xbe, k.kvm_nested_state);
export const KVM_SET_NESTED_STATE = iow(0xbf, k.kvm_nested_state);
export const KVM_XEN_VCPU_GET_ATTR = iowr(0xca, k.kvm_xen_vcpu_attr);
export const KVM_XEN_VCPU_SET_ATTR = iow(0xcb, k.kvm_xen_vcpu_attr);
export const KVM_GET_SREGS2 = ior(0xcc, k.kvm_sregs2);
export const KVM_SET_SREGS2 = iow(0xcd, k.kvm_sregs2);
/** Of VMs too. */
export const KVM_GET_STATS_FD = io(0xce);
export const KVM_GET_XSAVE2 = ior(0xcf, k.kvm_xsave);
export const KVM_PRE_FAULT_MEMORY = iowr(0xd5, k.kvm_pre_fault_memory);

// ioctls of a device's descriptor, and of any file with attributes.
export const KVM_SET_DEVICE_ATTR = iow(0xe1, k.kvm_device_attr);
export const KVM_GET_DEVICE_ATTR = iow(0xe2, k.kvm_device_attr);
export const KVM_HAS_DEVICE_ATTR = iow(0xe3, k.kvm_device_attr);
