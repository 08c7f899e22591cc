/** How Linux's headers call what src/abi/kvm exports, where its own name does not say it. */
import { fileURLToPath } from "node:url";
import type { HeaderSet } from "./gcc.js";
import type { Rules } from "./walk.js";

/** The kernel's headers for programs, as linux-libc-dev installs them. */
export const kvmHeaders: HeaderSet = {
  name: "linux-libc-dev",
  defines: [],
  includes: ["linux/kvm.h", "asm/kvm_para.h", "asm/errno.h", "xen/xen.h", "xen/event_channel.h"],
  folders: [],
};

/** Names that came after Linux 6.1, whose headers Debian 12 has: as they occur in an expression. */
export const kvmNewer: readonly RegExp[] = [
  /^KVM_CAP_(DIRTY_LOG_RING_WITH_BITMAP|PMU_EVENT_MASKED_EVENTS|COUNTER_OFFSET)$/,
  /^KVM_CAP_(USER_MEMORY2|MEMORY_FAULT_INFO|MEMORY_ATTRIBUTES|GUEST_MEMFD|VM_TYPES)$/,
  /^KVM_CAP_(PRE_FAULT_MEMORY|X86_APIC_BUS_CYCLES_NS|X86_GUEST_MODE)$/,
  /^KVM_EXIT_MEMORY_FAULT$/,
  /^KVM_MEM_GUEST_MEMFD$/,
  /^KVM_(SET_USER_MEMORY_REGION2|SET_MEMORY_ATTRIBUTES|CREATE_GUEST_MEMFD|PRE_FAULT_MEMORY)$/,
  /\bstruct kvm_(userspace_memory_region2|memory_attributes|create_guest_memfd)\b/,
  /\bstruct kvm_pre_fault_memory\b/,
  /\bstruct kvm_run\b.*\b(memory_fault|hypercall\.flags)\b/,
  /\bstruct kvm_xen_hvm_attr\b.*\b(runstate_update_flag|shared_info\.hva)\b/,
  /\bstruct kvm_xen_vcpu_attr\b.*\bu\.hva\b/,
  /^KVM_XEN_HVM_CONFIG_(RUNSTATE_UPDATE_FLAG|PVCLOCK_TSC_UNSTABLE|SHARED_INFO_HVA)$/,
  /^KVM_XEN_INVALID_(GFN|GPA)$/,
  /^KVM_XEN_ATTR_TYPE_(RUNSTATE_UPDATE_FLAG|SHARED_INFO_HVA)$/,
  /^KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO_HVA$/,
  /^KVM_DEV_VFIO_FILE/,
];

const fpstate = (field: string): string => `offsetof(struct _fpstate_64, ${field})`;

/** By module of src/abi/kvm. */
export const kvmRules: Readonly<Record<string, Rules>> = {
  cap: {
    KvmCap: { prefix: "KVM_CAP_" },
    KvmLimit: { ours: "limits inside the kernel; they are asked of it, not read in a header" },
  },
  devices: {
    KvmDevType: { prefix: "KVM_DEV_TYPE_" },
    KvmDevVfio: { prefix: "KVM_DEV_VFIO_" },
    KvmPitFlag: { prefix: "KVM_PIT_FLAGS_" },
    KvmGuestDbg: { prefix: "KVM_GUESTDBG_" },
    KvmIoeventfdFlag: {
      prefix: "KVM_IOEVENTFD_FLAG_",
      names: { VIRTIO_CCW: "KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY" },
    },
  },
  exit: {
    KvmExitReason: { prefix: "KVM_EXIT_" },
    KvmInternalError: { prefix: "KVM_INTERNAL_ERROR_" },
    KVM_RUN_BYTES: { ours: "what KVM_GET_VCPU_MMAP_SIZE answers; asked of the kernel" },
    KvmExitIo: { prefix: "KVM_EXIT_IO_" },
  },
  ioctl: {
    IocDir: { prefix: "_IOC_" },
  },
  irq: {
    KvmIrqRoutingType: { prefix: "KVM_IRQ_ROUTING_" },
    KvmIrqchip: { prefix: "KVM_IRQCHIP_" },
  },
  memory: { KvmMem: { prefix: "KVM_MEM_" } },
  state: {
    KvmMpState: { prefix: "KVM_MP_STATE_" },
    KvmVcpuEvent: { prefix: "KVM_VCPUEVENT_" },
    KvmClockFlag: { prefix: "KVM_CLOCK_" },
  },
  xen: {
    KvmXenHvmConfig: { prefix: "KVM_XEN_HVM_CONFIG_" },
    KVM_XEN_INVALID: { is: "KVM_XEN_INVALID_GFN" },
    KvmXenEvtchnFlag: { prefix: "KVM_XEN_EVTCHN_", names: { ASSIGN: "0" } },
    EvtchnStat: {
      prefix: "EVTCHNSTAT_",
      names: {
        CLOSED: "EVTCHNSTAT_closed",
        UNBOUND: "EVTCHNSTAT_unbound",
        INTERDOMAIN: "EVTCHNSTAT_interdomain",
        PIRQ: "EVTCHNSTAT_pirq",
        VIRQ: "EVTCHNSTAT_virq",
        IPI: "EVTCHNSTAT_ipi",
      },
    },
    KvmXenHvmAttrType: { prefix: "KVM_XEN_ATTR_TYPE_" },
    KvmXenVcpuAttrType: { prefix: "KVM_XEN_VCPU_ATTR_TYPE_" },
  },
};

/** ELF as Linux's headers have it. */
export const elfHeaders: HeaderSet = {
  name: "linux-libc-dev",
  defines: [],
  includes: ["linux/elf.h"],
  folders: [],
};

/** Of src/abi/boot/elf. */
export const elfRules = (width: 32 | 64): Rules => {
  const other: Rules[string] = { ours: "of the other class" };
  const ours: Rules[string] = { ours: "derived from the structures beside it" };
  return {
    elf_ehdr: { struct: `Elf${width}_Ehdr` },
    elf64_phdr: width === 64 ? { struct: "Elf64_Phdr" } : other,
    elf32_phdr: width === 32 ? { struct: "Elf32_Phdr" } : other,
    elf_shdr: { struct: `Elf${width}_Shdr` },
    elf_nhdr: { struct: `Elf${width}_Nhdr` },
    ELF_MAGIC: { is: ["ELFMAG0", "ELFMAG1", "ELFMAG2", "ELFMAG3"] },
    ...{ ELF32: ours, ELF64: ours, E_TYPE: ours, E_MACHINE: ours, SH_TYPE: ours, NHDR_SIZE: ours },
    SHT_NOTE: { is: "SHT_NOTE" },
    PT_GNU_STACK: { is: "PT_GNU_STACK" },
    XEN_NOTE_NAME: { ours: "a text" },
    LINUX_NOTE_NAME: { ours: "a text" },
    XEN_ELFNOTE_PHYS32_ENTRY: { ours: "of Xen's header, which is not with this one" },
  };
};

/** The C library's, with what it takes from the kernel's. */
export const systemHeaders: HeaderSet = {
  name: "libc6-dev",
  defines: ["#define _GNU_SOURCE"],
  includes: [
    ...["poll.h", "sys/epoll.h", "sys/socket.h", "sys/uio.h"],
    ...["asm/sigcontext.h", "asm/bootparam.h"],
  ],
  folders: [],
};

/** Of src/abi/x86/fpstate and src/abi/boot/bzimage. */
export const fpstateRules: Rules = {
  Fxsave: {
    prefix: "",
    names: {
      ...{ FCW: fpstate("cwd"), FSW: fpstate("swd"), FTW: fpstate("twd"), FOP: fpstate("fop") },
      ...{ FIP: fpstate("rip"), FDP: fpstate("rdp"), MXCSR: fpstate("mxcsr") },
      ...{ MXCSR_MASK: fpstate("mxcsr_mask"), ST: fpstate("st_space") },
      ...{ XMM: fpstate("xmm_space"), XMM_END: fpstate("reserved2") },
      SOFTWARE: fpstate("sw_reserved"),
      SIZE: "sizeof(struct _fpstate_64)",
      XSAVE_HEADER: "offsetof(struct _xstate, xstate_hdr)",
      XSAVE_HEADER_END: "offsetof(struct _xstate, ymmh)",
    },
  },
};
export const bzImageRules: Rules = { BzImage: { ours: "derived from the structure beside it" } };

/** What the preload library of `kvm-xen exec` shares with the server. */
export const shimHeaders: HeaderSet = {
  name: "src/exec/shim",
  defines: [],
  includes: ["protocol.h"],
  folders: [fileURLToPath(new URL("../../src/exec/shim", import.meta.url))],
};

/** Of src/abi/boot/hvm-start-info (Xen's headers). */
export const bootRules: Rules = {
  HVM_START_INFO_VERSION: { ours: "the header names no number for it" },
  HVM_START_INFO_SIZE: { is: "sizeof(struct hvm_start_info)" },
  HVM_MODLIST_ENTRY_SIZE: { is: "sizeof(struct hvm_modlist_entry)" },
  HVM_MEMMAP_ENTRY_SIZE: { is: "sizeof(struct hvm_memmap_table_entry)" },
  HVM_MEMMAP_MAX_ENTRIES: { ours: "a limit of Linux" },
  MemmapType: { prefix: "XEN_HVM_MEMMAP_TYPE_" },
};

/** Of what other folders take from the kernel's headers. */
export const restRules: Rules = {
  Errno: { prefix: "" },
  KvmMsr: { prefix: "MSR_" },
  KvmFeature: { prefix: "1 << KVM_FEATURE_" },
};
