import type { KvmXenEvtchn } from "../../abi/kvm/index.js";
import type { EventFd } from "./event-fd.js";

/** `struct kvm_xen_hvm_config`. */
export interface KvmXenHvmConfigArgs {
  /** KVM_XEN_HVM_CONFIG_* flags: INTERCEPT_HCALL, EVTCHN_SEND, PVCLOCK_TSC_UNSTABLE. */
  readonly flags: number;
  /** Index of the hypercall page MSR; 0 switches Xen support off. */
  readonly msr: number;
  /** Where the 32-bit hypercall page blob is (offset in linear memory) and its size in pages. */
  readonly blobAddr32?: bigint;
  readonly blobSize32?: number;
  readonly blobAddr64?: bigint;
  readonly blobSize64?: number;
}

/** Target of an outbound event channel: a vCPU of this VM, or an eventfd. */
export type KvmXenEvtchnTarget = KvmXenEvtchn | { readonly eventfd: EventFd };

/** `KVM_XEN_HVM_SET_ATTR`: one attribute of the VM, named after KVM_XEN_ATTR_TYPE_*. */
export type KvmXenHvmAttr =
  | { readonly type: "LONG_MODE"; readonly longMode: boolean }
  /** gfn, or KVM_XEN_INVALID to switch off. */
  | { readonly type: "SHARED_INFO"; readonly gfn: bigint }
  /** Offset in linear memory, a multiple of 4096, or 0 to switch off. */
  | { readonly type: "SHARED_INFO_HVA"; readonly hva: bigint }
  /** 0 (off) or 0x10 to 0xff. */
  | { readonly type: "UPCALL_VECTOR"; readonly vector: number }
  | {
      readonly type: "EVTCHN";
      readonly sendPort: number;
      /** EVTCHNSTAT_* number. */
      readonly evtchnType: number;
      /** KVM_XEN_EVTCHN_* (0 assign, 1 DEASSIGN, 2 UPDATE, 4 RESET). */
      readonly flags: number;
      /** Needed to assign and update. A port of 0 without an eventfd is refused with EBADF. */
      readonly deliver?: KvmXenEvtchnTarget;
    }
  /** (major << 16) | minor, 0 to leave XENVER_version to the VMM. */
  | { readonly type: "XEN_VERSION"; readonly xenVersion: number }
  | { readonly type: "RUNSTATE_UPDATE_FLAG"; readonly runstateUpdateFlag: boolean };

/** Types of {@link KvmXenHvmAttr}. */
export type KvmXenHvmAttrName = KvmXenHvmAttr["type"];

/** `runstate` member of `struct kvm_xen_vcpu_attr`. All u64. */
export interface KvmXenRunstate {
  readonly state: bigint;
  readonly stateEntryTime: bigint;
  readonly timeRunning: bigint;
  readonly timeRunnable: bigint;
  readonly timeBlocked: bigint;
  readonly timeOffline: bigint;
}

/** `KVM_XEN_VCPU_SET_ATTR`: one attribute of a vCPU, named after KVM_XEN_VCPU_ATTR_TYPE_*. */
export type KvmXenVcpuAttr =
  /** gpa, or KVM_XEN_INVALID to switch off. 64 bytes that may not cross a page. */
  | { readonly type: "VCPU_INFO"; readonly gpa: bigint }
  /** Offset in linear memory, or 0 to switch off. */
  | { readonly type: "VCPU_INFO_HVA"; readonly hva: bigint }
  | { readonly type: "VCPU_TIME_INFO"; readonly gpa: bigint }
  | { readonly type: "RUNSTATE_ADDR"; readonly gpa: bigint }
  | { readonly type: "RUNSTATE_CURRENT"; readonly state: bigint }
  | { readonly type: "RUNSTATE_DATA"; readonly runstate: KvmXenRunstate }
  | { readonly type: "RUNSTATE_ADJUST"; readonly runstate: KvmXenRunstate }
  /** The id by which vcpu_op names this vCPU. */
  | { readonly type: "VCPU_ID"; readonly vcpuId: number }
  /** Port 0 leaves timer hypercalls to the VMM; expiresNs is absolute kvmclock time, 0 = not armed. */
  | {
      readonly type: "TIMER";
      readonly port: number;
      readonly priority: number;
      readonly expiresNs: bigint;
    }
  /** 0 (off) or 0x10 to 0xff, through the local APIC. */
  | { readonly type: "UPCALL_VECTOR"; readonly vector: number };

/** Types of {@link KvmXenVcpuAttr}. */
export type KvmXenVcpuAttrName = KvmXenVcpuAttr["type"];

/** An attribute value of one type. */
export type HvmAttrOf<T extends KvmXenHvmAttrName> = Extract<KvmXenHvmAttr, { type: T }>;
/** An attribute value of one type. */
export type VcpuAttrOf<T extends KvmXenVcpuAttrName> = Extract<KvmXenVcpuAttr, { type: T }>;

/** KVM's Xen support of a VM, as a client sees it. */
export interface VmXen {
  /** KVM_XEN_HVM_CONFIG. @throws KvmError EINVAL for flags or blobs that do not fit together. */
  hvmConfig(config: KvmXenHvmConfigArgs): void;
  /** KVM_XEN_HVM_SET_ATTR. @throws KvmError as the kernel refuses that attribute. */
  setAttr(attr: KvmXenHvmAttr): void;
  /** KVM_XEN_HVM_GET_ATTR. @throws KvmError ENOENT for EVTCHN, which cannot be read. */
  getAttr<T extends KvmXenHvmAttrName>(type: T): HvmAttrOf<T>;
  /**
   * KVM_XEN_HVM_EVTCHN_SEND: raises a port of a vCPU. Masked and coalesced events succeed.
   * @throws KvmError EINVAL bad port, vCPU or priority, or no shared_info; EFAULT its page is gone.
   */
  evtchnSend(event: KvmXenEvtchn): void;
}

/** KVM's Xen support of a vCPU, as a client sees it. */
export interface VcpuXen {
  /** KVM_XEN_VCPU_SET_ATTR. @throws KvmError as the kernel refuses that attribute. */
  setAttr(attr: KvmXenVcpuAttr): void;
  /** KVM_XEN_VCPU_GET_ATTR. @throws KvmError ENOENT RUNSTATE_ADDR not set; EINVAL RUNSTATE_ADJUST. */
  getAttr<T extends KvmXenVcpuAttrName>(type: T): VcpuAttrOf<T>;
}
